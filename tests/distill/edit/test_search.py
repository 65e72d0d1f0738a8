"""The search of a frontier: what it looks at, what it takes, and that a killed one goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distill.edit.kfac import collect_factors
from distill.edit.matrices import find_targets
from distill.edit.search import Editor, Point, Rule, Search, point_of, read_journal
from recipes.errors import TrainingError
from tests.distill.edit.test_kfac import MLP, batches, dense, stream

RULE = Rule(keep=["reasoning"], recall_at_most=0.1, keep_at_least=0.97)


def editor():
    model = dense()
    targets = find_targets(model, layers=[], projections=MLP)
    return Editor(model, targets, collect_factors(model, targets, batches(stream(24)), seed=3))


def gauge(editor):
    """Scores that are read off the weights: recall is what layer 1 has left, reasoning what layer 0
    has.
    """
    norms = [
        sum(float(t.weight().square().sum()) for t in editor.targets if t.layer == layer)
        for layer in (0, 1)
    ]

    def score(model):
        left = [
            sum(float(t.weight().square().sum()) for t in editor.targets if t.layer == layer)
            / norms[layer]
            for layer in (0, 1)
        ]
        return {"reasoning": left[0], "recall": left[1]}

    return score


def search(made, path, **how):
    return Search(
        made,
        gauge(made),
        RULE,
        **{"taken": [0.01, 0.3], "combine": 2, "journal": path, "seconds": 60.0} | how,
    )


def test_a_search_finds_the_layer_that_recalls(tmp_path):
    made = editor()
    whole = [target.weight().clone() for target in made.targets]
    looking = search(made, tmp_path / "journal.jsonl")
    points = looking.frontier("kfac")
    assert {point.cuts for point in points if len(point.cuts) == 1} == {
        ((layer, taken),) for layer in (0, 1) for taken in (0.01, 0.3)
    }
    best = RULE.choose(points, looking.before().scores)
    assert {layer for layer, _ in best.cuts} == {1} and best.kept_fraction < 1
    assert all(
        torch.equal(target.weight(), kept) for target, kept in zip(made.targets, whole, strict=True)
    ), "put back after each look"
    assert [
        point_of(json.loads(line)) for line in (tmp_path / "journal.jsonl").read_text().splitlines()
    ][1:] == points


def test_layers_are_joined_where_that_pays(tmp_path):
    made = editor()
    looking = Search(
        made,
        lambda model: {
            "reasoning": 1.0,
            "recall": sum(
                bool((t.weight() == w).all()) for t, w in zip(made.targets, whole, strict=True)
            )
            / 6,
        },
        RULE,
        taken=[0.3],
        combine=2,
        journal=tmp_path / "journal.jsonl",
        seconds=60.0,
    )
    whole = [target.weight().clone() for target in made.targets]
    points = looking.frontier("kfac")
    assert RULE.choose(points, looking.before().scores).cuts == ((0, 0.3), (1, 0.3))


def test_time_ends_a_search_and_what_was_seen_is_kept(tmp_path):
    ticks = iter(range(100))
    looking = search(editor(), tmp_path / "journal.jsonl", seconds=2.5, clock=lambda: next(ticks))
    points = looking.frontier("kfac")
    assert [point.cuts for point in points] == [((0, 0.01), (1, 0.01)), ((0, 0.01),)], (
        "all layers with the first fraction first"
    )
    again = search(editor(), tmp_path / "journal.jsonl", seconds=60.0).frontier("kfac")
    assert again[:2] == points and len(again) > 2


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.distill.edit.test_search import RULE, editor, gauge, search
made, path = editor(), Path(sys.argv[1])
def seen(point):
    if len(path.read_text().splitlines()) == 4:
        with path.open("a") as file:
            file.write('{"method": "kfac", "cu')
        os.kill(os.getpid(), signal.SIGKILL)
search(made, path, progress=seen).frontier("kfac")
"""


def test_a_killed_search_goes_on_behind_its_last_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)],
        cwd=root,
        env=environment,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    assert len(read_journal(path)) == 4 and len(path.read_text().splitlines()) == 4, (
        "the half line is gone"
    )
    whole = search(editor(), tmp_path / "unbroken.jsonl").frontier("kfac")
    looked = []
    made = editor()
    resumed = Search(
        made,
        lambda model: (looked.append(1), gauge_of(model))[1],
        RULE,
        taken=[0.01, 0.3],
        combine=2,
        journal=path,
        seconds=60.0,
    )
    gauge_of = gauge(made)
    assert resumed.frontier("kfac") == whole and len(looked) == len(whole) + 1 - 4


def test_the_rule_of_the_recipe_picks_the_point():
    before = {"reasoning": 0.8, "recall": 1.0}
    points = [
        Point("kfac", ((0, x),), 0.5, {"reasoning": r, "recall": k})
        for x, r, k in ((1, 0.79, 0.3), (2, 0.7, 0.08), (3, 0.6, 0.0))
    ]
    assert RULE.choose(points, before) is points[1]
    assert (
        Rule(
            keep=["reasoning"], recall_at_most=0.1, keep_at_least=0.97, prefer="recall_least"
        ).choose(points, before)
        is points[0]
    )
    assert (
        Rule(
            keep=["reasoning"], recall_at_most=0.1, keep_at_least=0.5, prefer="recall_least"
        ).choose(points, before)
        is points[2]
    )
    assert RULE.choose(points[:1], before) is points[0], "nothing within the limit: the nearest"
    assert RULE.kept(points[0], before) == 0.79 / 0.8


def test_a_suite_at_zero_cannot_be_kept(tmp_path):
    made = editor()
    looking = Search(
        made,
        lambda model: {"reasoning": 0.0, "recall": 1.0},
        RULE,
        taken=[0.1],
        combine=1,
        journal=tmp_path / "j.jsonl",
        seconds=9.0,
    )
    with pytest.raises(TrainingError, match=r"edit.keep_suites: the model scores 0 on reasoning"):
        looking.frontier("kfac")
