"""Equivalent sizes against models whose abilities are known."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from data_filters.records.shards import write_shard
from eval.ask.ask import SCHEMA
from eval.scorecard import add_sizes, build_scorecard, to_markdown, to_terminal
from eval.scores.answers.read import COLUMNS, read_answers
from eval.scores.sizes.abilities import LAPSE, Abilities, abilities
from eval.scores.sizes.ability_line import Ruler, straight_lines
from eval.scores.sizes.equivalent_sizes import equivalent_sizes, slopes
from eval.scores.sizes.ladder import Ladder, Rung, rung_rows
from eval.scores.sizes.size_interval import SizeInterval, in_words, parameters_text
from recipes.errors import ShardError

SLOPE, SPREAD = 0.8, 1.5
LOG2 = np.arange(14.0, 20.0)  # 16 thousand to half a million parameters
CENTRE = LOG2.mean()
VALUES = [f"town{n}" for n in range(25)]


def responses(
    rng: np.random.Generator, theta_M: Sequence[float], items: int, floor: float = 0.0
) -> np.ndarray:
    """Right answers [I, M] of models of these abilities to items of normal difficulty."""
    logit_IM = np.asarray(theta_M)[None] - rng.normal(0, SPREAD, items)[:, None]
    return (
        rng.random(logit_IM.shape) < floor + (1 - LAPSE - floor) / (1 + np.exp(-logit_IM))
    ).astype(float)


def estimate(right_IM: np.ndarray, floor: float = 0.0, seed: int = 0) -> Abilities:
    items = len(right_IM)
    return abilities(right_IM, np.full(items, floor), np.arange(items), resamples=400, seed=seed)


def covered(draws_R: np.ndarray, truth: float) -> bool:
    low, high = np.quantile(draws_R[1:], [0.025, 0.975])
    return bool(low <= truth <= high)


def coverage(repetitions: int, *, scatter: float, floor: float = 0.0) -> dict[str, float]:
    """Share of repetitions in which the intervals hold the true slope, position and difference of
    positions.
    """
    rng = np.random.default_rng(11)
    hits, kept = {"slope": 0, "position": 0, "difference": 0}, 0
    first, second = CENTRE - 0.5, CENTRE + 0.7
    for seed in range(repetitions):
        strays = np.append(rng.normal(0, scatter, len(LOG2)), [0.0, 0.0])
        theta_M = SLOPE * (np.array([*LOG2, first, second]) - CENTRE) + strays
        found = estimate(responses(rng, theta_M, 200, floor), floor, seed)
        ruler = Ruler.fit(found, LOG2, np.full(len(LOG2), "a"), what="x", seed=seed)
        loose = [ruler.loose.octave_of(found.draws_RM[:, column]) for column in (-2, -1)]
        alone = ruler.line.octave_of(found.draws_RM[:, -2])
        alone[1:] += ruler.off_octaves * rng.standard_t(ruler.groups, len(alone) - 1)
        hits["slope"] += covered(ruler.loose.slope_R, SLOPE)
        hits["position"] += covered(alone, first)
        hits["difference"] += covered(loose[1] - loose[0], second - first)
        kept += 1
    return {name: count / kept for name, count in hits.items()}


@pytest.mark.parametrize("scatter", [0.0, 0.2])
def test_intervals_hold_the_truth(scatter: float) -> None:
    shares = coverage(40, scatter=scatter)
    assert min(shares.values()) >= 0.85, shares


@pytest.mark.slow
@pytest.mark.parametrize(("scatter", "floor"), [(0.0, 0.0), (0.2, 0.0), (0.1, 0.04)])
def test_intervals_hold_the_truth_as_often_as_they_say(scatter: float, floor: float) -> None:
    shares = coverage(300, scatter=scatter, floor=floor)
    print(shares)
    assert min(shares.values()) >= 0.92, shares


@pytest.mark.slow
def test_a_model_of_an_unseen_family_is_inside_its_interval() -> None:
    rng, place, hits, repetitions = np.random.default_rng(12), CENTRE + 0.4, 0, 150
    families, log2_K = np.repeat(["a", "b", "c", "d"], 3), np.tile(LOG2[::2], 4)
    for seed in range(repetitions):
        offsets = np.repeat(rng.normal(0, 0.4, 4), 3)
        ability = SLOPE * (place - CENTRE) + rng.normal(0, 0.4)
        found = estimate(
            responses(rng, [*(SLOPE * (log2_K - CENTRE) + offsets), ability], 150), seed=seed
        )
        ruler = Ruler.fit(found, log2_K, families, what="x", seed=seed)
        draws_R = ruler.line.octave_of(found.draws_RM[:, -1])
        draws_R[1:] += ruler.off_octaves * rng.standard_t(ruler.groups, len(draws_R) - 1)
        hits += covered(draws_R, place)
    print(hits / repetitions)
    assert hits / repetitions >= 0.9


def test_abilities_and_their_spread_are_found() -> None:
    theta_M = np.array([-2.0, -1.0, 0.0, 1.5])
    found = estimate(responses(np.random.default_rng(3), theta_M, 6000, 0.04), 0.04)
    assert np.abs(found.draws_RM[0] - theta_M).max() < 0.15
    assert abs(found.spread - SPREAD) < 0.1


def test_families_have_their_own_intercepts() -> None:
    rng = np.random.default_rng(4)
    # b is larger and a logit worse
    families, log2_K = np.array(["a"] * 4 + ["b"] * 4), np.array([14.0, 15, 16, 17, 17, 18, 19, 20])
    theta_K = SLOPE * (log2_K - 17) - (families == "b") * 1.0
    found = estimate(responses(rng, theta_K, 3000))
    line, _ = straight_lines(found, log2_K, families, what="x")
    assert abs(line.slope_R[0] - SLOPE) < 0.06
    # a logit is 1.25 octaves between families
    assert Ruler.fit(found, log2_K, families, what="x").off_octaves > 0.8


def test_models_may_be_asked_different_items() -> None:
    right_IM = responses(np.random.default_rng(5), [-1.0, 0.0, 1.0], 4000)
    whole = estimate(right_IM).draws_RM[0]
    right_IM[::2, 2] = np.nan
    assert np.abs(estimate(right_IM).draws_RM[0] - whole).max() < 0.15


def test_clusters_widen_the_interval() -> None:
    # every item counted four times
    right_IM = np.repeat(responses(np.random.default_rng(6), [-1.0, 1.0], 300), 4, axis=0)
    floor = np.zeros(len(right_IM))
    blind = abilities(right_IM, floor, np.arange(len(right_IM)), resamples=800)
    aware = abilities(right_IM, floor, np.repeat(np.arange(300), 4), resamples=800)
    assert np.allclose(aware.errors_M / blind.errors_M, 2.0, rtol=0.15)


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_all_right_and_all_wrong_stay_finite(answer: float) -> None:
    found = estimate(np.full((50, 3), answer))
    assert np.isfinite(found.draws_RM).all()
    assert found.errors_M.min() > 0.3  # 50 of 50 is no certainty
    with pytest.raises(ShardError, match="does not clearly grow"):
        Ruler.fit(found, np.array([14.0, 15, 16]), np.full(3, "a"), what="x")


@pytest.mark.parametrize(
    ("log2", "families"),
    [
        ([14.0], ["a"]),
        ([14.0, 15], ["a", "a"]),
        ([14.0, 14, 14], ["a", "a", "a"]),
        ([14.0, 15, 16], ["a", "b", "c"]),
    ],
)
def test_too_few_models_are_no_ladder(log2: list[float], families: list[str]) -> None:
    found = estimate(responses(np.random.default_rng(7), np.zeros(len(log2)), 50))
    with pytest.raises(ShardError, match="no ladder for x; expected at least 3") as fault:
        Ruler.fit(found, np.array(log2), np.array(families), what="x")
    assert "\n" not in str(fault.value)


def test_a_ladder_that_falls_is_refused() -> None:
    found = estimate(responses(np.random.default_rng(8), SLOPE * (CENTRE - LOG2), 200))
    with pytest.raises(ShardError, match="does not clearly grow along the ladder"):
        Ruler.fit(found, LOG2, np.full(len(LOG2), "a"), what="x")


def test_spans_say_what_is_known_and_no_more() -> None:
    inside, below, above = (
        SizeInterval.within(np.full(101, at), (14.0, 18.0)) for at in (16.0, 13.0, 19.0)
    )
    assert inside.entry() == {"value": 16.0, "low": 16.0, "high": 16.0, "censored": None}
    assert below.entry() == {"value": 14.0, "low": None, "high": 14.0, "censored": "below"}
    assert above.entry() == {"value": 18.0, "low": 18.0, "high": None, "censored": "above"}
    assert inside.minus(below).entry() == {
        "value": 2.0,
        "low": 2.0,
        "high": None,
        "censored": "above",
    }
    assert below.minus(below).entry() == {
        "value": None,
        "low": None,
        "high": None,
        "censored": "unknown",
    }


def test_words() -> None:
    octaves = "{:+.1f}".format
    assert (
        in_words(
            {"value": 1_234_567, "low": 950_000, "high": None, "censored": None}, parameters_text
        )
        == "1.2M [950k, -]"
    )
    assert (
        in_words({"value": 16_384, "low": None, "high": 27e9, "censored": "below"}, parameters_text)
        == "below 16k [-, 27B]"
    )
    assert (
        in_words({"value": 2.5, "low": 1.0, "high": None, "censored": "above"}, octaves)
        == "above +2.5 [+1.0, -]"
    )
    assert (
        in_words({"value": None, "low": None, "high": None, "censored": "unknown"}, octaves)
        == "outside the ladder"
    )


# --- from answers to the card


def rows_of(
    name: str, reasoning_I: np.ndarray, recall_I: np.ndarray, gold: str = "7"
) -> list[dict[str, object]]:
    common = {"contender": name, "exposure": 1, "completion_tokens": 3, "prompt": "?"}
    made = [
        common
        | {
            "suite": "reasoning",
            "family": "sums",
            "question_id": f"r{n}",
            "cluster": f"r{n}",
            "relation": "",
            "mode": "free",
            "outcome": "correct" if right else "wrong",
            "gold": gold,
            "text": gold if right else "8",
        }
        for n, right in enumerate(reasoning_I)
    ]
    for n, right in enumerate(recall_I):
        value, other = VALUES[n % 25], VALUES[(n + 1) % 25]
        made.append(
            common
            | {
                "suite": "recall",
                "family": "home",
                "question_id": f"f{n}",
                "cluster": f"f{n}",
                "relation": "home",
                "mode": "choice",
                "outcome": "correct" if right else "wrong",
                "gold": value,
                "text": value if right else other,
            }
        )
    return made


def simulated(
    places: dict[str, tuple[float, float]], items: int = 300
) -> tuple[Ladder, list[dict[str, object]]]:
    """A dense ladder over LOG2, and contenders at (log2 reasoning, log2 recall)."""
    rng = np.random.default_rng(9)
    rungs = [
        Rung(name=f"m{n}", family="dense", total=round(2**at), active=round(2**at))
        for n, at in enumerate(LOG2)
    ]
    where = {rung.name: (at, at) for rung, at in zip(rungs, LOG2, strict=True)} | places
    reasoning_IM, recall_IM = (
        responses(rng, [SLOPE * (pair[axis] - CENTRE) for pair in where.values()], items, floor)
        for axis, floor in ((0, 0.0), (1, 1 / 25))
    )
    rows = {
        name: rows_of(name, reasoning_IM[:, m], recall_IM[:, m]) for m, name in enumerate(where)
    }
    ladder = Ladder(rungs, read_answers([row for rung in rungs for row in rows[rung.name]]))
    return ladder, [row for name in places for row in rows[name]]


PLACES = {
    "teacher": (16.5, 18.5),
    "control": (16.5, 17.0),
    "student": (16.5, 4.0),
    "giant": (24.0, 16.0),
    "base": (4.0, 4.0),
}


def test_the_card_says_where_everybody_stands() -> None:
    ladder, answers = simulated(PLACES)
    found = equivalent_sizes(answers, ladder, contenders=list(PLACES), bootstrap=500)
    json.dumps(found, allow_nan=False)
    for name, axis, place in (
        ("teacher", "recall", 18.5),
        ("control", "reasoning", 16.5),
        ("control", "recall", 17.0),
    ):
        size = found[axis][name]
        assert size["censored"] is None
        assert abs(np.log2(size["value"]) - place) < 0.7
        assert (size["low"] or 0) <= 2**place <= (size["high"] or np.inf)
    assert found["recall"]["student"] | {"high": 0} == {
        "value": 2**14,
        "low": None,
        "high": 0,
        "censored": "below",
    }
    assert (
        found["reasoning"]["giant"]["censored"] == "above"
        and found["reasoning"]["giant"]["value"] == 2**19
    )
    assert found["reference"] == "control"  # the untrained base is off the ladder on both sides
    assert (
        found["octaves"]["base"]["censored"] == "unknown"
        and found["octaves"]["base"]["value"] is None
    )
    change = found["octaves"]["student"]["change"]
    assert (
        change["censored"] == "above"
        and change["high"] is None
        and 0 < change["low"] <= change["value"] <= 3.7
    )
    difference = found["octaves"]["teacher"]["change"]
    assert difference["low"] <= -1.5 <= difference["high"] and difference["censored"] is None
    absolute = found["octaves"]["teacher"]
    assert (difference["high"] or 99) - (difference["low"] or -99) < (absolute["high"] or 99) - (
        absolute["low"] or -99
    )
    assert found["refused"] == {}


def test_sizes_stand_in_the_headline_and_in_the_text() -> None:
    ladder, answers = simulated(PLACES)
    card = build_scorecard(answers, recipe="r", contenders=list(PLACES), bootstrap=100, seed=0)
    assert card["headline"]["separation_octaves"] is None
    add_sizes(card, equivalent_sizes(answers, ladder, contenders=list(PLACES), bootstrap=100))
    assert (
        card["headline"]["separation_octaves"]
        == card["sizes"]["octaves"]["student"]["change"]["value"]
    )
    told = {line.split()[0]: line for line in to_terminal(card).splitlines() if line.strip()}
    assert "separation octaves" in to_terminal(card) and "against control" in to_markdown(card)
    assert "below 16k" in told["student"] and "above 524k" in told["giant"]


def test_the_same_seed_gives_the_same_card_and_a_contender_more_moves_little() -> None:
    ladder, answers = simulated(PLACES)
    first, second = (
        equivalent_sizes(rows, ladder, contenders=list(PLACES), bootstrap=200)
        for rows in (answers, answers[::-1])
    )
    assert first == second
    alone = equivalent_sizes(answers, ladder, contenders=["control"], bootstrap=200)
    assert (
        abs(np.log2(alone["recall"]["control"]["value"] / first["recall"]["control"]["value"]))
        < 0.1
    )


def test_repeated_tries_do_not_count() -> None:
    ladder, answers = simulated({"student": (16.5, 16.5)})
    again = [row | {"sample": 1, "outcome": "wrong"} for row in answers]
    first, second = (
        equivalent_sizes(rows, ladder, contenders=["student"], bootstrap=100)
        for rows in (answers, answers + again)
    )
    assert first == second


def test_other_questions_are_refused() -> None:
    ladder, _ = simulated({})
    strange = rows_of("student", np.ones(9), np.ones(9), gold="9")
    with pytest.raises(ShardError, match="answered other questions than the ladder"):
        equivalent_sizes(strange, ladder, contenders=["student"])


def test_an_axis_that_cannot_be_measured_is_named_and_the_other_stays() -> None:
    ladder, answers = simulated({"student": (16.5, 16.5)})
    flat = Ladder(
        [Rung(name=r.name, family=r.family, total=r.total, active=1000) for r in ladder.rungs],
        ladder.answers,
    )
    found = equivalent_sizes(answers, flat, contenders=["student"], bootstrap=200)
    assert "no ladder for reasoning (active parameters)" in found["refused"]["reasoning"]
    assert (
        found["reasoning"] == {} and found["octaves"] == {} and set(found["recall"]) == {"student"}
    )


def test_slopes_are_those_of_a_doubling() -> None:
    ladder, _ = simulated({}, items=800)
    for slope in slopes(ladder, bootstrap=400).values():
        assert slope["low"] < SLOPE < slope["high"] and slope["high"] - slope["low"] < 0.5


def test_a_ladder_comes_back_from_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="no ladder can be read there"):
        Ladder.read(tmp_path)
    ladder, answers = simulated({"student": (16.5, 16.5)})
    rows = rung_rows(ladder)
    assert [row["name"] for row in rows] == [f"m{n}" for n in range(6)] and rows[0][
        "recall"
    ] < rows[-1]["recall"]
    names = {rung.name: rung for rung in ladder.rungs}
    columns = ladder.answers
    told = [name for name in COLUMNS if name != "text"]
    table = [
        {name: columns[name][n] for name in told} | {"text": columns["choice"][n], "prompt": ""}
        for n in range(len(columns["suite"]))
    ]
    write_shard(tmp_path / "answers.parquet", table, SCHEMA)
    (tmp_path / "ladder.json").write_text(
        json.dumps({"rungs": [{k: row[k] for k in Rung.__slots__} for row in rows]})
    )
    again = Ladder.read(tmp_path)
    assert {rung.name: rung for rung in again.rungs} == names
    first, second = (
        equivalent_sizes(answers, one, contenders=["student"], bootstrap=100)
        for one in (ladder, again)
    )
    assert first == second
