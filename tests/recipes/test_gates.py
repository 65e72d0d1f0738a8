"""Gates as people write them, and what is said of one that could never open."""

from pathlib import Path

import pytest

from eval.scorecard import build_scorecard
from recipes.errors import RecipeError
from recipes.gates import parse_gate
from recipes.load import load_recipe
from recipes.metrics import METRICS, NAMES, RENAMED, SHARES


def test_whatever_a_scorecard_measures_can_be_a_gate() -> None:
    rows = [
        {
            "contender": "student",
            "suite": suite,
            "family": "f",
            "question_id": f"{suite}/{n}",
            "cluster": f"{suite}/{n}",
            "relation": "r",
            "exposure": 4,
            "mode": mode,
            "outcome": "correct" if n % 2 else "abstained",
            "completion_tokens": 5,
            "gold": "a",
            "text": "b",
        }
        for suite in (
            "reasoning",
            "open_book",
            "counterfactual",
            "basics",
            "recall",
            "recall_never_trained",
            "untold",
            "off_manifold",
        )
        for mode in (("free", "note", "choice") if suite.startswith("recall") else ("free",))
        for n in range(6)
    ]
    card = build_scorecard(rows, recipe="r", contenders=["student"], bootstrap=20, seed=1)
    assert len(card["metrics"]) > 12
    for name in card["metrics"]:
        assert parse_gate(f"{name} >= 0").name == name


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("reasoning_retained >= 0.97", ("reasoning_retained", "value", None, ">=", 0.97)),
        (" recall.high<=5e-2 ", ("recall", "high", None, "<=", 0.05)),
        ("reasoning.low - teacher > -0.02", ("reasoning", "low", "teacher", ">", -0.02)),
        ("recall - never_trained < .1", ("recall", "value", "never_trained", "<", 0.1)),
        ("reasoning/chain_sum >= 1", ("reasoning/chain_sum", "value", None, ">=", 1.0)),
        ("kb_swapped.followed >= 0.9", ("kb_swapped.followed", "value", None, ">=", 0.9)),
        ("kb_off.correct.high <= 0.1", ("kb_off.correct", "high", None, "<=", 0.1)),
        ("harness/gsm8k-cot.low >= 0.4", ("harness/gsm8k-cot", "low", None, ">=", 0.4)),
    ],
)
def test_a_gate_says(text: str, wanted: tuple[object, ...]) -> None:
    gate = parse_gate(text)
    assert (gate.name, gate.end, gate.other, gate.sign, gate.bound) == wanted


def test_every_metric_can_be_a_gate_and_no_old_name_is_one() -> None:
    for name in METRICS:
        assert parse_gate(f"{name}.low - teacher >= 0").name == name
    assert set(RENAMED.values()) <= set(METRICS) and not set(RENAMED) & {*NAMES, *SHARES}


def test_a_gate_holds_at_its_bound_or_not() -> None:
    assert parse_gate("recall <= 0.05").holds(0.05) and not parse_gate("recall < 0.05").holds(0.05)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recal <= 0.1", "did you mean 'recall'?"),
        ("reasoning_retaned >= 0.9", "did you mean 'reasoning_retained'?"),
        ("recall = 0.1", "is not a gate; expected METRIC >= NUMBER"),
        ("recall.mean <= 0.1", "names no metric 'recall.mean'; did you mean 'recall'?"),
        (
            "base_swapped_follows >= 0.9",
            "base_swapped_follows is now kb_swapped.followed",
        ),
        ("lookup_needless_given.high <= 0.1", "is now given_with_tools.searched"),
        ("recall <= lots", "is not a gate"),
        ("speech/odd >= 0", "names no metric 'speech/odd'"),
        (
            "reasoning_retained.low >= 0.9",
            "has no interval and no difference; write reasoning_retained >= 0.9",
        ),
    ],
)
def test_what_is_no_gate_is_one_line(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as fault:
        parse_gate(text)
    assert said in str(fault.value) and "\n" not in str(fault.value)


SMOKE = Path(__file__).parents[2] / "recipes" / "smoke.yaml"


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("recal <= 0.1", "names no metric 'recal'; did you mean 'recall'?"),
        ("harness/gsm8 >= 0.1", "names no task of evaluate.harness; did you mean 'harness/gsm8k'?"),
        ("recall - controll <= 0", "names no contender 'controll'; did you mean 'control'?"),
    ],
)
def test_a_recipe_refuses_a_gate_that_cannot_open(gate: str, said: str) -> None:
    with pytest.raises(RecipeError) as fault:
        load_recipe(SMOKE, ["evaluate.harness=[{task: gsm8k}]", f"publish.gates=['{gate}']"])
    assert said in str(fault.value) and str(fault.value).startswith("command line: ")
