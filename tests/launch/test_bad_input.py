"""Bad input gets one clear line, exit code 2, and nothing is lost."""

import json
import shutil

import pytest

from tests.launch.street import SMOKE, contents, launch, succeed

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    succeed(SMOKE, f"runs={runs}", "stages=teacher,generate,filter")
    return runs


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished / "smoke", tmp_path / "smoke")
    return tmp_path / "smoke"


def refused(*words, **how):
    done = launch(*words, **how)
    lines = [line for line in done.stderr.strip().splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert len(lines) == 1
    return lines[0]


def test_a_truncated_shard_is_named(run):
    shard = run / "generate" / "traces-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:100])
    shutil.rmtree(run / "filter")
    assert "traces-00001.parquet" in refused(SMOKE, f"runs={run.parent}", "stages=filter")
    assert "generate" in contents(run)


def test_a_filter_that_keeps_nothing_says_which(run):
    shutil.rmtree(run / "filter")
    line = refused(
        SMOKE,
        f"runs={run.parent}",
        "stages=filter",
        "filter.keep_unknown=false",
        "generate.count=200",
    )
    assert "verify" in line and "keep_unknown" in line


def test_a_tokenizer_of_another_vocabulary_is_refused(run):
    config = json.loads((run / "teacher" / "tokenizer.json").read_text())
    ids = config["model"]["vocab"]
    a, b = sorted(ids, key=ids.get)[300:302]
    ids[a], ids[b] = ids[b], ids[a]
    student = run.parent / "student"
    shutil.copytree(
        run / "teacher", student, ignore=shutil.ignore_patterns("manifest.json", "identity.json")
    )
    (student / "tokenizer.json").write_text(json.dumps(config))
    line = refused(
        SMOKE,
        f"runs={run.parent}",
        "stages=distill",
        "models.student.shape=null",
        f"models.student.path={student}",
    )
    assert "one vocabulary" in line and "distill.divergence: none" in line


def test_a_tokenizer_that_names_more_than_the_model_has_is_refused(run):
    student = run.parent / "student"
    shutil.copytree(
        run / "teacher", student, ignore=shutil.ignore_patterns("manifest.json", "identity.json")
    )
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(student)
    tokenizer.add_tokens([f"<extra_{i}>" for i in range(5)])
    tokenizer.save_pretrained(student)
    line = refused(
        SMOKE,
        f"runs={run.parent}",
        "stages=distill",
        "models.student.shape=null",
        f"models.student.path={student}",
    )
    assert "they do not belong together" in line


def test_an_absent_model_and_an_absent_adapter_target_are_named(run):
    absent = run.parent / "absent"
    line = refused(
        SMOKE,
        f"runs={run.parent}",
        "stages=distill",
        "models.student.shape=null",
        f"models.student.path={absent}",
    )
    assert str(absent) in line
    line = refused(
        SMOKE,
        f"runs={run.parent}",
        "stages=distill",
        "models.student.lora.rank=2",
        "models.student.lora.targets=[q_prjo]",
    )
    assert "no module named q_prjo" in line and "q_proj" in line


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(run):
    half = ("models.student.dtype=float16", "distill.learning_rate=1", "distill.clip_norm=0")
    words = (*half, "distill.checkpoint_steps=1")
    line = refused(SMOKE, f"runs={run.parent}", "stages=distill", *words)
    assert "is nan at step" in line and "last good checkpoint: step-" in line
    (checkpoint,) = (run / "distill" / "student" / "checkpoints").iterdir()
    assert checkpoint.name in line


def test_a_run_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(SMOKE, f"runs={tmp_path / 'file'}")
