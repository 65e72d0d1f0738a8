"""Cached targets and probes with the real command: the same losses, a kill, a cache from elsewhere,
refusals.
"""

import json

import pytest

from tests.launch.street import SMOKE, contents, kill_when, launch, losses, succeed

STAGES = "stages=teacher,generate,filter,distill"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs beside each other: the live teacher, and the same with hidden states on disk."""
    runs = tmp_path_factory.mktemp("runs")
    succeed(SMOKE, f"runs={runs}", STAGES, "name=live")
    succeed(SMOKE, f"runs={runs}", STAGES, "name=hidden", "distill.targets.kind=hidden")
    return runs


def test_hidden_states_on_disk_train_exactly_as_the_live_teacher(runs):
    for arm in ("student", "control"):
        assert losses(runs / "hidden" / "distill" / arm) == losses(runs / "live" / "distill" / arm)
    about = json.loads(
        (runs / "hidden" / "distill" / "targets" / "control" / "cache.json").read_text()
    )
    assert about["bytes_per_token"] == 32 * 4 and about["kind"] == "hidden"


def test_a_cache_made_elsewhere_serves_the_same_training(runs):
    elsewhere = "distill.targets.path=" + str(runs / "hidden" / "distill" / "targets" / "{arm}")
    succeed(SMOKE, f"runs={runs}", STAGES, "name=outside", "distill.targets.kind=hidden", elsewhere)
    assert losses(runs / "outside" / "distill" / "student") == losses(
        runs / "live" / "distill" / "student"
    )
    assert not (runs / "outside" / "distill" / "targets").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("teacher.learning_rate=0.01", "another teacher"),
        ("filter.abstain_text=No idea.", "another set of traces"),
        ("distill.targets.kind=sampled", "another kind"),
        ("distill.temperature=2.0 distill.targets.kind=top_k", "another"),
    ],
)
def test_another_cache_is_refused_in_one_line(runs, change, said):
    elsewhere = "distill.targets.path=" + str(runs / "hidden" / "distill" / "targets" / "{arm}")
    words = [
        "distill.targets.kind=hidden",
        elsewhere,
        *change.replace("=No idea.", "=No_idea.").split(),
    ]
    done = launch(SMOKE, f"runs={runs}", STAGES, f"name=other-{abs(hash(change))}", *words)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert done.returncode == 2 and len(lines) == 1
    assert said in lines[0] and "hidden/distill/targets/student" in lines[0]


def test_killed_while_it_writes_targets_the_bytes_are_the_same(runs, tmp_path):
    words = (
        SMOKE,
        STAGES,
        "distill.targets.kind=sampled",
        "distill.targets.shard_sequences=8",
        "distill.targets.tokens_per_position=5",
        "name=sampled",
    )
    succeed(*words, f"runs={runs}")
    run = tmp_path / "sampled"
    targets = run / "distill" / "targets"
    signs = (
        targets / "student" / "targets-00002.arrow",
        targets / "control" / "targets-00001.arrow",
    )
    killed = [kill_when(sign, *words, f"runs={tmp_path}") for sign in signs]
    assert any(killed)
    succeed(*words, f"runs={tmp_path}")
    whole, again = contents(runs / "sampled"), contents(run)
    assert again == whole and "distill/targets/student" in whole


def test_probes_keep_the_best_weights_also_after_a_kill(runs, tmp_path):
    words = (
        SMOKE,
        STAGES,
        "name=probed",
        "distill.probe.every_steps=5",
        "distill.probe.keep=best",
        "distill.probe.items=12",
    )
    succeed(*words, f"runs={runs}")
    folder = runs / "probed" / "distill" / "student"
    rows = [json.loads(line) for line in (folder / "probes.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    assert {
        "reasoning",
        "recall",
        "num_reasoning",
        "num_recall",
        "repetition",
        "teacher_repetition",
    } <= set(rows[0])
    kept = json.loads((folder / "manifest.json").read_text())["notes"]["kept_step"]
    assert kept in (5, 10, 15, 20) and not list((folder / "checkpoints").glob("tmp-*"))
    kill_when(
        tmp_path / "probed" / "distill" / "student" / "checkpoints" / "step-10",
        *words,
        f"runs={tmp_path}",
    )
    succeed(*words, f"runs={tmp_path}")
    assert contents(tmp_path / "probed") == contents(runs / "probed")


@pytest.mark.slow
def test_a_probe_under_zero_3_sees_whole_weights(runs, tmp_path):
    words = (
        "distill.probe.every_steps=10",
        "distill.probe.keep=best",
        "distill.probe.items=8",
        "distill.targets.teacher=sharded",
    )
    succeed(SMOKE, f"runs={tmp_path}", STAGES, *words, config="zero3_cpu2")
    rows = (tmp_path / "smoke" / "distill" / "student" / "probes.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in rows] == [10, 20]
