"""A run folder says what is done and by whom, refuses what is not its own, and survives being
killed at any moment.
"""

import json
import multiprocessing
import os
import re
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.runs.identity import content_digest, identity_of, provenance
from launch.runs.ranks import Ranks, ranks_from_env
from launch.runs.run_folder import Workspace, remove_stale_temporaries
from recipes.errors import RecipeError, WorkspaceError
from recipes.load import load_recipe
from recipes.schema import Lora, Model, Recipe, Source, Training

ROOT = Path(__file__).parents[3]
IDENTITY = {
    "generate.temperature": 0.7,
    "generate.system": None,
    "input.teacher": "sha256:ab",
    "seed": 1,
}
SPAWN = multiprocessing.get_context("spawn")


def silent(_: str) -> None:
    """Drops what claim says."""


def make(
    work: Workspace,
    part: str = "generate",
    identity: dict[str, object] | None = None,
    text: str = "traces",
) -> Path:
    """A finished part with one file."""
    identity = identity or IDENTITY
    assert work.claim(part, identity, leads=True, show=silent)
    (work.folder(part) / "00000.parquet").write_text(text)
    work.finish(part, identity, {"seconds": 1.5})
    return work.folder(part)


def recipe(runs: Path, *overrides: str) -> Recipe:
    return load_recipe(ROOT / "recipes" / "smoke.yaml", ["name=demo", f"runs={runs}", *overrides])


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs" / "demo")


# --- states


def test_a_part_is_new_then_unfinished_then_done(work: Workspace) -> None:
    assert work.state("generate", IDENTITY) == "new" and not work.done("generate")
    assert work.claim("generate", IDENTITY, leads=True, show=silent)
    assert work.state("generate", IDENTITY) == "unfinished" and not work.done("generate")
    (work.folder("generate") / "00000.parquet").write_text("traces")
    digest = work.finish("generate", IDENTITY, {"traces": 3, "seconds": 1.5})
    assert work.state("generate", IDENTITY) == "done" and work.done("generate")
    assert work.digest("generate") == digest


def test_a_finished_part_is_skipped_and_said_so(work: Workspace) -> None:
    make(work)
    said: list[str] = []
    assert not work.claim("generate", IDENTITY, leads=True, show=said.append)
    assert said == ["generate: done, skipped"]


def test_the_manifest_keeps_identity_and_notes_apart(work: Workspace) -> None:
    manifest = json.loads((make(work) / "manifest.json").read_text())
    assert set(manifest) == {"identity", "content", "files", "notes"}
    assert manifest["identity"] == IDENTITY
    assert manifest["content"].startswith("sha256:") and len(manifest["content"]) == 71
    assert manifest["notes"]["seconds"] == 1.5 and manifest["notes"]["ranks"] == 1
    assert manifest["notes"]["versions"].keys() >= {"torch", "transformers"}
    assert {"commit", "date"} <= manifest["notes"].keys()


def test_the_digest_of_an_unfinished_part_is_refused(work: Workspace) -> None:
    with pytest.raises(WorkspaceError) as refusal:
        work.digest("distill/student")
    asked = "run the stage 'distill' first (stages=... names those that run)"
    assert str(refusal.value) == f"{work.root}/distill/student is not finished; {asked}"


def test_parts_lie_inside_parts(work: Workspace) -> None:
    make(work, "evaluate/answers/teacher")
    assert work.state("evaluate", {"seed": 9}) == "new", "the answers belong to parts of their own"
    make(work, "evaluate", {"seed": 9})
    assert work.done("evaluate/answers/teacher")


# --- refusals


def test_another_identity_is_refused_word_for_word(work: Workspace) -> None:
    folder = make(work)
    changed = IDENTITY | {
        "generate.temperature": 1.0,
        "generate.system": "Be brief.",
        "input.teacher": "sha256:cd",
    }
    with pytest.raises(WorkspaceError) as refusal:
        work.claim("generate", changed, leads=True, show=silent)
    assert str(refusal.value) == (
        f"{folder} was made by another recipe: generate.system was null, is now Be brief.; generate.temperature was 0.7, is now 1.0; "
        f"input.teacher was sha256:ab, is now sha256:cd; start a variant with name=NEW (it reuses what still fits), "
        f"or delete {folder} to make it again"
    )
    assert work.state("generate", IDENTITY) == "done", "nothing is lost"


def test_an_unfinished_part_of_another_identity_is_refused(work: Workspace) -> None:
    work.claim("generate", IDENTITY, leads=True, show=silent)
    write(work.folder("generate"), {"0.parquet": "the first shard"})
    with pytest.raises(
        WorkspaceError,
        match=r"generate was begun by another recipe: seed was 1, is now 2; start a variant with name=NEW",
    ):
        work.state("generate", IDENTITY | {"seed": 2})
    assert work.state("generate", IDENTITY) == "unfinished"


def test_a_part_that_was_begun_in_vain_belongs_to_nobody(work: Workspace) -> None:
    """A model that is not there fails after the part began; the fixed recipe has another
    identity.
    """
    mended = IDENTITY | {"seed": 2}
    work.claim("generate", IDENTITY, leads=True, show=silent)
    write(work.folder("generate"), {".0.parquet.tmp": "hal", "checkpoints/tmp-1": "f"})
    assert work.state("generate", mended) == "new"
    assert work.claim("generate", mended, leads=True, show=silent)
    assert work.state("generate", mended) == "unfinished"
    make(Workspace(work.root.parent / "other"))
    assert not work.claim("generate", IDENTITY, leads=True, show=silent), (
        "an empty beginning does not keep a finished part out either"
    )


def test_keys_that_came_or_went_are_named_as_absent(work: Workspace) -> None:
    make(work, identity={"seed": 1, "old": True})
    with pytest.raises(
        WorkspaceError, match=r"new was absent, is now false; old was true, is now absent; start"
    ):
        work.state("generate", {"seed": 1, "new": False})


def test_many_differences_are_counted(work: Workspace) -> None:
    make(work, identity={f"k{n}": n for n in range(7)})
    with pytest.raises(
        WorkspaceError,
        match=r"k0 was 0, is now 1; k1 .*; k2 .*; k3 was 3, is now 4; and 3 more; start",
    ) as refusal:
        work.state("generate", {f"k{n}": n + 1 for n in range(7)})
    assert "\n" not in str(refusal.value)


def test_a_long_value_is_shown_where_it_differs(work: Workspace) -> None:
    make(work, identity={"sources": "a" * 500 + "read" + "z" * 500})
    with pytest.raises(WorkspaceError) as refusal:
        work.state("generate", {"sources": "a" * 500 + "hops" + "z" * 500})
    line = str(refusal.value).partition("recipe: ")[2].partition("; start")[0]
    assert "read" in line and "hops" in line and len(line) < 200
    assert line.startswith("sources was ...aaa") and "zzz..., is now ...aaa" in line


def test_a_deleted_manifest_does_not_open_the_door_to_another_recipe(work: Workspace) -> None:
    (make(work) / "manifest.json").unlink()
    assert work.state("generate", IDENTITY) == "unfinished"
    with pytest.raises(WorkspaceError, match="was begun by another recipe"):
        work.state("generate", IDENTITY | {"seed": 2})


def test_a_broken_manifest_is_one_line(work: Workspace) -> None:
    folder = make(work)
    (folder / "manifest.json").write_text('{"identity": {')
    with pytest.raises(
        WorkspaceError,
        match=rf"{folder}/manifest.json cannot be read \(.*\); delete {folder} to make it again",
    ):
        work.state("generate", IDENTITY)


# --- identities and digests


def test_an_identity_is_flat() -> None:
    found = identity_of(Lora(rank=4, targets=["q"]), prefix="lora")
    assert found == {
        "lora.rank": 4,
        "lora.alpha": 32.0,
        "lora.dropout": 0.0,
        "lora.targets": '["q"]',
    }
    model = identity_of(Model(path="p"), prefix="models.teacher")
    assert model["models.teacher.path"] == "p" and model["models.teacher.lora.rank"] == 0
    assert model["models.teacher.shape"] is None and model["models.teacher.base_urls"] == "[]"


def test_lists_of_sections_and_tables_become_text() -> None:
    section = load_recipe(ROOT / "recipes" / "smoke.yaml").generate
    text = identity_of(section, prefix="generate")["generate.sources"]
    assert [source["name"] for source in json.loads(text)] == [
        source.name for source in section.sources
    ]
    assert (
        identity_of(Source(name="a", options={"b": 1, "a": 2}), prefix="s")["s.options"]
        == '{"a": 2, "b": 1}'
    )
    assert identity_of(Training(), prefix="t")["t.adam_betas"] == "[0.9, 0.98]"


def test_what_does_not_matter_is_left_out_by_its_full_name() -> None:
    aside = ("models.student.lora", "models.student.server", "models.student.dtype", "dtype")
    found = identity_of(Model(path="p"), prefix="models.student", leave_out=aside)
    assert {key.removeprefix("models.student.") for key in found} == {
        "path",
        "revision",
        "gguf_file",
        "shape",
        "attention",
        "trust_remote_code",
        "eos_token",
        "pad_token",
        "engine",
        "base_urls",
        "serve",
        "chat_template",
    }


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_an_identity_is_its_own_after_the_disk(
    tmp_path_factory: pytest.TempPathFactory, identity: dict[str, object]
) -> None:
    work = Workspace(tmp_path_factory.mktemp("run"))
    work.claim("part", identity, leads=True, show=silent)
    work.finish("part", identity, {})
    assert work.state("part", dict(reversed(identity.items()))) == "done"
    with pytest.raises(WorkspaceError):
        work.state("part", identity | {"another key": 1})


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_content_is_names_and_bytes(tmp_path: Path) -> None:
    files = {"kept/0.parquet": "a", "report.json": "b"}
    digest = content_digest(write(tmp_path / "one", files))
    assert content_digest(write(tmp_path / "two", dict(reversed(files.items())))) == digest
    assert content_digest(write(tmp_path / "bytes", files | {"report.json": "c"})) != digest
    assert (
        content_digest(write(tmp_path / "names", {"kept/1.parquet": "a", "report.json": "b"}))
        != digest
    )
    assert content_digest(write(tmp_path / "more", files | {"empty": ""})) != digest


def test_what_is_no_content(tmp_path: Path) -> None:
    files = {"model.safetensors": "weights"}
    digest = content_digest(write(tmp_path / "bare", files))
    notes = ("manifest.json", "answers/manifest.json", "identity.json", "metrics.jsonl")
    beside = (*notes, "checkpoints/step-1/a", ".x.7", "b.tmp", "tmp-3/c")
    folder = write(tmp_path / "full", files | dict.fromkeys(beside, "noise"))
    assert content_digest(folder) == digest
    assert content_digest(folder, leave_out=()) != digest
    assert (
        content_digest(
            write(folder, {"logs/a.log": "seconds"}), leave_out=("metrics.jsonl", "logs/*")
        )
        == digest
    )


def test_provenance_names_this_house() -> None:
    found = provenance()
    assert found["date"].endswith("+00:00")
    assert found["commit"] is None or len(found["commit"]) == 40


# --- killed runs


def shard(folder: Path, number: int) -> None:
    half = folder / f".{number}.tmp"
    half.write_text(f"shard {number}")
    os.replace(half, folder / f"{number}.parquet")


def half_a_run(root: Path, ready: Event) -> None:
    """Opens, begins, writes two of four shards and half of the third, then waits for the axe."""
    work = Workspace(root)
    work.open(recipe(root.parent))
    work.claim("generate", IDENTITY, leads=True, show=silent)
    shard(work.folder("generate"), 0)
    shard(work.folder("generate"), 1)
    (work.folder("generate") / ".2.tmp").write_text("sha")
    ready.set()
    time.sleep(60)


def test_a_killed_run_continues_where_it_stopped(work: Workspace, tmp_path: Path) -> None:
    ready = SPAWN.Event()
    process = SPAWN.Process(target=half_a_run, args=(work.root, ready))
    process.start()
    assert ready.wait(30)
    with pytest.raises(
        WorkspaceError,
        match="another launch is at work in this run folder; wait for it or stop it, or start a variant",
    ):
        work.open(recipe(work.root.parent))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    work.open(recipe(work.root.parent))
    folder = work.folder("generate")
    assert work.state("generate", IDENTITY) == "unfinished"
    assert work.claim("generate", IDENTITY, leads=True, show=silent)
    assert sorted(path.name for path in folder.iterdir()) == [
        "0.parquet",
        "1.parquet",
        "identity.json",
    ]
    for number in (2, 3):
        shard(folder, number)
    work.finish("generate", IDENTITY, {})
    unbroken = Workspace(tmp_path / "other" / "demo")
    assert unbroken.claim("generate", IDENTITY, leads=True, show=silent)
    for number in range(4):
        shard(unbroken.folder("generate"), number)
    unbroken.finish("generate", IDENTITY, {})
    assert work.digest("generate") == unbroken.digest("generate")


def test_a_finished_part_keeps_no_checkpoints(tmp_path: Path) -> None:
    work = Workspace(tmp_path / "run")
    files = {"model.safetensors": "w", "checkpoints/step-1/model.safetensors": "w"}
    write(work.folder("distill/student"), files)
    work.finish("distill/student", {"seed": 1}, {})
    left = {path.name for path in work.folder("distill/student").iterdir()}
    assert left == {"model.safetensors", "manifest.json"}


def test_only_old_temporaries_go_and_checkpoints_stay(tmp_path: Path) -> None:
    write(
        tmp_path,
        dict.fromkeys(
            (".old", "sub/old.tmp", ".young", "checkpoints/tmp-1/x", "tmp-2.json", "kept"), "x"
        ),
    )
    for name in (".old", "sub/old.tmp", "checkpoints/tmp-1/x", "tmp-2.json", "kept"):
        os.utime(tmp_path / name, (time.time() - 90, time.time() - 90))
    remove_stale_temporaries(tmp_path, older_than_seconds=60)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".young", "checkpoints/tmp-1/x", "kept"}
    remove_stale_temporaries(tmp_path)
    assert not (tmp_path / ".young").exists()


# --- several ranks


def test_ranks_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert ranks_from_env() == Ranks(0, 1, 0) and ranks_from_env().is_main
    for name, value in (("RANK", "9"), ("WORLD_SIZE", "16"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert (
        ranks_from_env() == Ranks(index=9, count=16, local_index=1) and not ranks_from_env().is_main
    )


def one_rank(root: Path, index: int, count: int) -> None:
    """What a rank does in generate: claim, write its shards; the main rank waits for all of them
    and finishes.
    """
    work = Workspace(root, Ranks(index, count, index))
    if index == 0:
        time.sleep(0.5)
    if not work.claim("generate", IDENTITY, leads=index == 0, show=silent):
        raise SystemExit(7)
    folder = work.folder("generate")
    for number in range(index, 6, count):
        shard(folder, number)
    if index == 0:
        for number in range(6):
            work.wait_for(folder / f"{number}.parquet")
        work.finish("generate", IDENTITY, {})
    else:
        work.wait("generate", IDENTITY)
    raise SystemExit(0 if work.done("generate") else 8)


def test_ranks_meet_through_files(work: Workspace) -> None:
    ranks = [SPAWN.Process(target=one_rank, args=(work.root, index, 3)) for index in range(3)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(40)
    assert [process.exitcode for process in ranks] == [0, 0, 0]
    assert sorted(path.name for path in work.folder("generate").glob("*.parquet")) == [
        f"{n}.parquet" for n in range(6)
    ]
    assert (
        json.loads((work.folder("generate") / "manifest.json").read_text())["notes"]["ranks"] == 3
    )


def waiting_rank(root: Path, started: Event, returned: Event) -> None:
    started.set()
    Workspace(root, Ranks(1, 2, 1)).wait("filter", IDENTITY)
    returned.set()


def test_a_waiting_rank_returns_with_the_manifest_and_not_before(work: Workspace) -> None:
    started, returned = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=waiting_rank, args=(work.root, started, returned))
    process.start()
    assert started.wait(30)
    work.claim("filter", IDENTITY, leads=True, show=silent)
    write(work.folder("filter"), {"kept/0.parquet": "x"})
    assert not returned.wait(0.7)
    work.finish("filter", IDENTITY, {})
    assert returned.wait(10)
    process.join(10)
    assert process.exitcode == 0


def test_a_rank_that_does_not_lead_leaves_the_disk_alone(work: Workspace) -> None:
    make(work)
    other = Workspace(work.root, Ranks(1, 2, 1))
    other.open(recipe(work.root.parent))
    other.record_recipe()
    assert not (work.root / "recipe.yaml").exists()
    assert not other.claim("generate", IDENTITY, leads=False, show=silent)
    with pytest.raises(WorkspaceError, match="was made by another recipe"):
        other.wait("generate", IDENTITY | {"seed": 2})


# --- variants


def test_a_variant_takes_over_a_part_of_the_same_identity(work: Workspace) -> None:
    folder = make(work, "distill/student")
    write(
        folder, {"sub/model.safetensors": "w", "metrics.jsonl": "{}", "checkpoints/step-1/big": "x"}
    )
    variant = Workspace(work.root.parent / "variant")
    said: list[str] = []
    assert not variant.claim("distill/student", IDENTITY, leads=True, show=said.append)
    assert said == [f"distill/student: reused from {work.root}"]
    copied = {
        path.relative_to(variant.root).as_posix()
        for path in variant.root.rglob("*")
        if path.is_file()
    }
    names = (
        "00000.parquet",
        "sub/model.safetensors",
        "metrics.jsonl",
        "identity.json",
        "manifest.json",
    )
    assert copied == {f"distill/student/{name}" for name in names}
    assert (folder / "00000.parquet").samefile(
        variant.folder("distill/student") / "00000.parquet"
    ), "no bytes are copied"
    assert variant.digest("distill/student") == work.digest("distill/student")
    assert variant.state("distill/student", IDENTITY) == "done"


def test_a_variant_takes_nothing_else(work: Workspace) -> None:
    make(work)
    work.claim("filter", IDENTITY, leads=True, show=silent)
    variant = Workspace(work.root.parent / "variant")
    assert variant.adopt("generate", IDENTITY | {"seed": 2}) is None, "another identity"
    assert variant.adopt("filter", IDENTITY) is None, "not finished there"
    assert variant.adopt("teacher", IDENTITY) is None, "not there at all"
    assert not variant.root.exists()
    write(variant.folder("generate"), {"0.parquet": "mine"})
    assert variant.adopt("generate", IDENTITY) is None, "something is here already"


def test_a_broken_neighbour_does_not_disturb(work: Workspace) -> None:
    make(work)
    write(work.root.parent / "a_broken_run" / "generate", {"manifest.json": "{"})
    assert Workspace(work.root.parent / "variant").adopt("generate", IDENTITY) == work.root


def test_a_takeover_that_was_killed_is_done_again(work: Workspace) -> None:
    make(work)
    variant = Workspace(work.root.parent / "variant")
    write(variant.root / ".generate.adopting", {"00000.parquet": "hal"})
    assert variant.state("generate", IDENTITY) == "new"
    assert variant.adopt("generate", IDENTITY) == work.root
    assert [path.name for path in variant.root.iterdir()] == ["generate"]


# --- the run folder


def test_the_folder_holds_the_resolved_recipe(work: Workspace) -> None:
    asked = recipe(work.root.parent, "distill.steps=7")
    work.open(asked)
    assert load_recipe(work.root / "recipe.yaml") == asked


def test_a_refused_run_leaves_the_old_recipe_in_place(work: Workspace) -> None:
    first, second = recipe(work.root.parent), recipe(work.root.parent, "seed=2")
    work.open(first)
    make(work)
    work.open(second)
    with pytest.raises(WorkspaceError):
        work.claim("generate", IDENTITY | {"seed": 2}, leads=True, show=silent)
    assert load_recipe(work.root / "recipe.yaml") == first
    work.claim("filter", {"seed": 2}, leads=True, show=silent)
    assert load_recipe(work.root / "recipe.yaml") == second


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(WorkspaceError) as refusal:
        Workspace(tmp_path / "runs" / "demo").open(recipe(tmp_path))
    assert str(refusal.value) == (
        f"{tmp_path}/runs/demo: the run folder cannot be written: Not a directory; free some space, make it writable, "
        "or choose another place with runs=FOLDER"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WorkspaceError, match="the run folder cannot be written: Permission denied"):
        Workspace(tmp_path / "demo").open(recipe(tmp_path))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(f"name {name!r} is no name of a folder")):
        recipe(tmp_path, f"name='{name}'")
