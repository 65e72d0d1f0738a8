"""What a training says about itself, and when it stops."""

import pytest

from distill.train.probe import Prober
from distill.train.schedule import Progress
from distill.train.watchdog import Watchdog
from recipes.errors import TrainingError
from recipes.schema import Probe, WatchdogLimits


def row(**changes):
    return {
        "loss": 1.0,
        "kl": 0.1,
        "gradient_norm": 1.0,
        "student_entropy": 1.0,
        "teacher_entropy": 1.0,
    } | changes


def steps(watchdog, rows, at=None):
    """Warnings of each step, as the loop asks for them."""
    at, said = at or Progress(), []
    for one in rows:
        said.append(watchdog.step(at, one))
        at.step += 1
    return said, at


@pytest.mark.parametrize("name", ["loss", "gradient_norm"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_stops_whatever_the_limits_say(name, value):
    watchdog = Watchdog(WatchdogLimits(action="off"), "runs/x")
    with pytest.raises(
        TrainingError, match=rf"runs/x: {name} is (nan|inf) at step 1, .*good checkpoint: none"
    ):
        watchdog.refuse_non_finite(1, **({"loss": 1.0, "gradient_norm": 1.0} | {name: value}))


def test_a_spike_is_told_with_its_numbers():
    watchdog = Watchdog(WatchdogLimits(first_step=10, kl_spike_ratio=8.0), "x")
    said, at = steps(watchdog, [row()] * 30 + [row(kl=0.79), row(kl=2.0)])
    assert not any(said[:31])
    assert (
        len(said[31]) == 1
        and "divergence 2 at step 32" in said[31][0]
        and "(limit 8)" in said[31][0]
    )
    assert at.means["kl"] == pytest.approx(0.1257, abs=1e-3)


def test_nothing_is_said_before_the_first_step_that_counts():
    said, _ = steps(Watchdog(WatchdogLimits(first_step=40), "x"), [row()] * 30 + [row(kl=50.0)])
    assert not any(said)


def test_a_student_that_collapses_is_told_before_it_is_too_late():
    collapsing = [row(student_entropy=max(0.05, 1 - 0.02 * n)) for n in range(400)]
    said, _ = steps(
        Watchdog(WatchdogLimits(first_step=50, entropy_gap_fraction=0.6), "x"), collapsing
    )
    first = next(n for n, lines in enumerate(said) if lines)
    assert (
        30 < first < 200 and "the student collapses" in said[first][0] and "60%" in said[first][0]
    )
    sharp_alike, _ = steps(
        Watchdog(WatchdogLimits(first_step=50), "x"),
        [row(student_entropy=0.02, teacher_entropy=0.03)] * 400,
    )
    assert not any(sharp_alike)


def test_stop_stops_and_names_the_checkpoint(tmp_path):
    watchdog = Watchdog(
        WatchdogLimits(action="stop", first_step=0), "x", lambda: tmp_path / "step-20"
    )
    with pytest.raises(TrainingError, match=r"times its running mean.*step-20"):
        steps(watchdog, [row()] * 5 + [row(kl=5.0)])


def test_without_a_teacher_only_the_numbers_are_watched():
    said, at = steps(
        Watchdog(WatchdogLimits(first_step=0), "x"),
        [{"loss": 1.0, "gradient_norm": 1.0, "student_entropy": 0.1}] * 20,
    )
    assert not any(said) and set(at.means) == {"student_entropy"}


def test_degenerate_text_is_seen_in_a_probe():
    watchdog = Watchdog(WatchdogLimits(first_step=0, repetition_fraction=0.3), "x")
    assert watchdog.probe(Progress(step=5), {"repetition": 0.9, "teacher_repetition": 0.1}) == [
        "degenerate text at step 5: 90% of its answers repeat, the teacher's 10% (limit 30% more)"
    ]
    assert not watchdog.probe(Progress(step=5), {"repetition": 0.35, "teacher_repetition": 0.1})


def prober(keep="best"):
    return Prober(Probe(every_steps=10, keep=keep), lambda model: {}, lambda: None)


def probed(reasoning, recall, n=400):
    return {
        "reasoning": reasoning,
        "recall": recall,
        "num_reasoning": n,
        "num_recall": n,
        "step": 1,
    }


@pytest.mark.parametrize(
    ("new", "kept", "wins"),
    [
        ((0.90, 0.10), None, True),
        ((0.90, 0.10), (0.80, 0.10), True),  # reasons better
        ((0.80, 0.10), (0.90, 0.10), False),  # reasons worse
        ((0.90, 0.10), (0.905, 0.10), True),  # within a standard error: later weights
        ((0.90, 0.30), (0.90, 0.10), False),  # no better, but recalls more
        ((0.90, 0.10), (0.90, 0.30), True),
        ((0.97, 0.30), (0.90, 0.10), True),  # reasons better, even though it recalls more
    ],
)
def test_one_rule_says_which_weights_are_kept(new, kept, wins):
    assert prober().beats(probed(*new), kept and probed(*kept)) is wins
    assert prober("last").beats(probed(*new), kept and probed(*kept)) is False
