"""The generate stage with the real command and a real server: a kill pays for nothing twice, a
wrong server is one line.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from data_filters.records.shards import iter_traces
from launch.inputs.teacher import TeacherAccess
from recipes.load import load_recipe
from tests.distill.engines.test_endpoint import small_server, wait_for
from tests.launch.street import ROOT, environment, launch, start, succeed

CONCURRENCY = 8


@pytest.fixture
def recipe(tmp_path):
    """A served teacher, sums from a file, and only this stage."""
    rows = "".join(
        json.dumps({"question": f"Add {n} and 1.", "answer": str(n + 1)}) + "\n" for n in range(300)
    )
    (tmp_path / "sums.jsonl").write_text(rows)
    path = tmp_path / "served.yaml"
    path.write_text(f"""
name: served
runs: {tmp_path}
stages: [generate]
models:
  teacher: {{path: small, engine: endpoint, base_urls: [http://127.0.0.1:1/v1], server: {{api: chat, concurrency: {CONCURRENCY}}}}}
  student: {{shape: {{hidden_size: 32}}}}
distill: {{divergence: none}}
generate:
  sources: [{{name: sums, path: {tmp_path}/sums.jsonl, answer: answer}}]
  count: 300
  samples_per_problem: 2
  shard_problems: 100
  max_new_tokens: 16
""")
    return path


def counts(url):
    return json.loads(wait_for(url.replace("/v1", "/counts")))


def test_a_killed_run_asks_only_for_what_was_in_flight(recipe, tmp_path):
    with small_server("--seconds", 0.03) as (url, _):
        process = start(recipe, f"models.teacher.base_urls=[{url}]")
        while counts(url).get("requests", 0) < 150:
            time.sleep(0.02)
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # as a kill right behind a whole shard leaves it
        (tmp_path / "served" / "generate" / "journal" / "traces-99999.jsonl").touch()
        before = counts(url)["requests"]
        assert before < 600
        succeed(recipe, f"models.teacher.base_urls=[{url}]")
        asked = counts(url)["requests"]
    traces = list(iter_traces(tmp_path / "served" / "generate"))
    assert Counter(Counter(trace.problem_id for trace in traces).values()) == {2: 300}
    assert {trace.verdict for trace in traces} == {"correct"}
    assert 600 + 2 <= asked <= 600 + 2 + CONCURRENCY  # each start says hello once
    report = json.loads((tmp_path / "served" / "generate" / "report.json").read_text())
    assert (
        report["traces"] == report["correct"] == 600
        and report["requests"]["answered"] == asked - before
    )
    assert not (tmp_path / "served" / "generate" / "journal").exists()


def test_another_address_is_no_other_run(recipe):
    with small_server() as (url, _):
        succeed(recipe, f"models.teacher.base_urls=[{url}]")
    assert "generate: done, skipped" in succeed(
        recipe, "models.teacher.base_urls=[http://127.0.0.1:2/v1]"
    )


def test_no_server_and_a_wrong_name_are_one_line(recipe):
    assert "no server answers at http://127.0.0.1:1/v1/models" in refused(recipe)
    with small_server() as (url, _):
        assert "did you mean 'small'?" in refused(
            recipe, f"models.teacher.base_urls=[{url}]", "models.teacher.server.model=smal"
        )


def test_a_server_that_refuses_everything_makes_no_finished_stage(recipe, tmp_path):
    few = "generate.count=20"
    with small_server("--refuse", "no credit left for org-7") as (url, _):
        line = refused(recipe, few, f"models.teacher.base_urls=[{url}]")
    assert "refused all of 40 prompts; 40 times: no credit left for org-7; fix the server" in line
    assert not list((tmp_path / "served" / "generate").glob("*.parquet"))
    with small_server() as (url, _):
        succeed(recipe, few, f"models.teacher.base_urls=[{url}]")
    traces = list(iter_traces(tmp_path / "served" / "generate"))
    assert [trace.verdict for trace in traces] == ["correct"] * 40


@pytest.mark.parametrize("other", ["model=large", "options={chat-template: other.jinja}"])
def test_another_teacher_behind_the_address_is_another_run(recipe, other):
    def speaker(*over):
        return TeacherAccess(load_recipe(recipe, over), None).speaker()

    place = "options={port: '81', api-key: s3cret, tensor-parallel-size: '8'}"
    was = speaker()
    assert speaker(f"models.teacher.server.{other}") != was
    assert speaker(f"models.teacher.server.{place}") == was


def test_the_doctor_asks_the_servers(recipe):
    with small_server() as (url, _):
        said = subprocess.run(
            [
                sys.executable,
                "-m",
                "launch.doctor",
                str(recipe),
                f"models.teacher.base_urls=[{url}]",
            ],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        ).stdout
    assert "ok     teacher's servers: small at 1 address(es), context 4096 tokens" in said


def refused(*words):
    done = launch(*words)
    (line,) = [line for line in done.stderr.strip().splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-2000:]
    return line
