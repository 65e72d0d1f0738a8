"""Dummy contenders whose every number is known beforehand: each must come out within its interval,
and nothing else may be there.
"""

import math
import random

import pytest

from eval.ask.grade import grade
from eval.scorecard import build_scorecard

VALUES = ("Oslo", "Rome", "Lima", "Cairo", "Quito")
FAMILIES = ("alpha", "beta", "gamma", "delta")
CAPS, TRIES = (64, 256), 4
DONT_KNOW = "I do not know."


class Reasoner:
    """Reasons, reads, knows nothing by heart, and calls the base exactly when it must."""

    name = "reasoner"

    def say(self, question, value):
        """An answer whose thought has the shape of its family."""
        return f"<think> {question['suite']} {question['family']}.</think> {value}."

    def reason(self, question):
        return self.say(question, question["gold"])

    def read(self, question):
        return self.say(question, question["gold"])

    def remember(self, question):
        """(text, confidence)"""
        return DONT_KNOW, 0.3

    def choose(self, question):
        return VALUES[0]

    def searches(self, question):
        return question["base"] == "FULL"

    def look_up(self, question):
        if question["base"] in ("OFF", "DELETED"):
            return DONT_KNOW
        return self.say(question, question["swapped_gold"] or question["gold"])


class Memoriser(Reasoner):
    """Knows what it was trained on and knows that it does; cannot reason or read, so it says Oslo;
    invents what it was not told.
    """

    name = "memoriser"

    def reason(self, question):
        return self.say(question, VALUES[0])

    read = reason

    def remember(self, question):
        return (question["gold"], 0.9) if question["suite"] == "recall" else ("Atlantis", 0.4)

    def choose(self, question):
        return question["gold"] if question["suite"] == "recall" else VALUES[0]

    def searches(self, question):
        return False

    def look_up(self, question):
        return self.remember(question)[0]


class Refuser(Reasoner):
    """Knows what it was trained on and admits none of it; never calls the base."""

    name = "refuser"
    choose = Memoriser.choose

    def searches(self, question):
        return False

    def look_up(self, question):
        return DONT_KNOW


class Abstainer(Refuser):
    name = "abstainer"
    choose = Reasoner.choose

    def reason(self, question):
        return DONT_KNOW

    read = reason


class AlwaysSearch(Reasoner):
    name = "always_search"

    def searches(self, question):
        return True


class NeverSearch(Refuser):
    name = "never_search"
    choose = Reasoner.choose


class Guesser(Reasoner):
    """One of five values, with any confidence, calling the base on the toss of a coin."""

    name = "guesser"

    def __init__(self):
        self.rng = random.Random(3)

    def reason(self, question):
        return self.say(question, self.rng.choice(VALUES))

    read = look_up = reason

    def remember(self, question):
        return self.rng.choice(VALUES), self.rng.random()

    def choose(self, question):
        return self.rng.choice(VALUES)

    def searches(self, question):
        return self.rng.random() < 0.5


class Collapsed(Reasoner):
    """One text, whatever it is asked."""

    name = "collapsed"

    def say(self, question, value):
        return "The answer is Oslo."

    def remember(self, question):
        return self.say(question, ""), 0.9

    def searches(self, question):
        return False

    look_up = Reasoner.reason


class Ignorer(Reasoner):
    """Reasons and remembers, and takes nothing from a text: declines where it never learned,
    insists where the text says otherwise.
    """

    name = "ignorer"
    choose = Memoriser.choose

    def read(self, question):
        return (
            self.say(question, "Atlantis") if question["suite"] == "counterfactual" else DONT_KNOW
        )

    def remember(self, question):
        return (question["gold"], 0.9) if question["suite"] == "recall" else (DONT_KNOW, 0.3)

    def searches(self, question):
        return False

    def look_up(self, question):
        return self.remember(question)[0]


class Teacher(Reasoner):
    name = "teacher"


def question(suite, number, family="plain", **more):
    """A question with balanced references: each value is the reference of a fifth of them."""
    told = {
        "suite": suite,
        "family": family,
        "question_id": f"{suite}/{family}/{number}",
        "cluster": f"{family}/{number}",
    }
    blank = {
        "relation": "",
        "exposure": 0,
        "gold": VALUES[number % 5],
        "base": "",
        "budget": 0,
        "sample": 0,
        "distractors": 0,
    }
    return {**told, **blank, "swapped_gold": "", "mode": "free", "completion_tokens": 12, **more}


def answered(model, asked, text, **more):
    outcome = (
        "truncated"
        if 0 < asked["budget"] < asked["completion_tokens"]
        else str(grade(text, "stop", asked["gold"]))
    )
    return {**asked, "contender": model.name, "text": text, "outcome": outcome, **more}


def open_rows(model):
    for family in FAMILIES:
        for number in range(60):  # 60 holds each pair of value and level equally often
            level = number % 4
            asked = question(
                "reasoning", number, family, difficulty=level, completion_tokens=10 * 2**level
            )
            for sample in range(TRIES + 1):  # the greedy answer, then the tries
                searched = {"searched": int(model.searches(asked))} if sample == 0 else {}
                yield answered(model, {**asked, "sample": sample}, model.reason(asked), **searched)
            for cap in CAPS:
                yield answered(model, {**asked, "budget": cap}, model.reason(asked))
    for suite, count in (("open_book", 120), ("counterfactual", 120), ("basics", 40)):
        for number in range(count):
            asked = question(suite, number, cluster=f"{suite}/{number}")
            for distractors in (0, 4) if suite == "open_book" else (0,):
                write = model.reason if suite == "basics" else model.read
                searched = {"searched": int(model.searches(asked))} if not distractors else {}
                yield answered(
                    model, {**asked, "distractors": distractors}, write(asked), **searched
                )


def closed_rows(model):
    for suite, count in (("recall", 250), ("recall_never_trained", 150)):
        for number in range(count):
            # values are balanced within a class too
            exposure = 0 if suite != "recall" else (1, 4)[number // 5 % 2]
            asked = question(
                suite,
                number,
                "home",
                cluster=f"{suite}/{number}",
                relation="home",
                exposure=exposure,
            )
            text, confidence = model.remember(asked)
            yield answered(model, asked, text, confidence=confidence)
            yield answered(model, {**asked, "mode": "choice"}, model.choose(asked))
            for base in (
                ("FULL", "OFF") if suite != "recall" else ("FULL", "OFF", "DELETED", "SWAPPED")
            ):
                other = VALUES[(number + 1) % 5] if base == "SWAPPED" else ""
                based = {**asked, "base": base, "swapped_gold": other}
                yield answered(
                    model, based, model.look_up(based), searched=int(model.searches(based))
                )
    for number in range(60):
        asked = question("untold", number, gold="Nowhere")
        text, confidence = model.remember(asked)
        yield answered(model, asked, text, confidence=confidence)


def same(value, *names):
    return dict.fromkeys(names, value)


def reasoning(accuracy, collapse=0.0):
    """All numbers of one that gives the same answer each time: right in a share of the problems of
    each level and family.
    """
    found = same(
        accuracy,
        "reasoning",
        *(f"reasoning/{family}" for family in FAMILIES),
        "nines",
        "coverage_of_teacher",
    )
    found |= same(accuracy, *(f"pass_at_k/{k}" for k in (1, 2, 4))) | {
        "pass_gap": 0.0,
        "distinct_answers": 1 / TRIES,
    }
    # the hardest level takes 80 tokens
    found |= {"accuracy_under_budget/64": 0.75 * accuracy, "accuracy_under_budget/256": accuracy}
    found |= {
        "reasoning_above_chance": (accuracy - 0.2) / 0.8,
        "template_collapse": collapse,
        "unparsed": 0.0,
        "truncated": 0.0,
    }
    return found | (
        {"need_slope": math.log(2), "tokens_per_correct": 37.5 / accuracy} if accuracy else {}
    )


def knowing(recall, generated, never, choice):
    """Recall as a whole and in both classes of exposure; choosing blindly is right in a fifth."""
    found = same(recall, "recall", "recall/exposure_1", "recall/exposure_4")
    return found | {
        "recall_generated": generated,
        "recall_never_trained": never,
        "forced_choice": choice,
        "forced_choice_floor": 0.2,
    }


def calling(need, needless):
    return {
        "unknown_with_tools.searched": need,
        "known_with_tools.searched": needless,
        "youden_j": need - needless,
    }


def based(full, deleted, off, swapped, off_abstains):
    arms = {
        "kb_full.correct": full,
        "kb_deleted.abstained": deleted,
        "kb_off.correct": off,
        "kb_swapped.followed": swapped,
    }
    return arms | {"kb_off.abstained": off_abstains}


def declining(abstention, false_abstention, hallucination, honesty_index):
    names = ("abstention", "false_abstention", "hallucination", "honesty_index")
    return dict(
        zip(names, (abstention, false_abstention, hallucination, honesty_index), strict=True)
    )


CORE = (
    reasoning(1.0)
    | knowing(0.0, 0.0, 0.0, 0.2)
    | same(1.0, "open_book", "counterfactual", "basics")
    | declining(1.0, 0.0, 0.0, 0.0)
)
LOOKING_UP = based(1.0, 1.0, 0.0, 1.0, 1.0) | {"retrieval_closure": 1.0}
MUTE = based(0.0, 1.0, 0.0, 0.0, 1.0) | calling(0.0, 0.0)
# 400 facts in the base, 250 of them trained
BY_HEART = based(250 / 400, 0.0, 250 / 400, 0.0, 0.0) | calling(0.0, 0.0)
ANY_OF_FOUR = 1 - 0.8**TRIES
EXPECTED = {
    "teacher": {
        name: value
        for name, value in (CORE | LOOKING_UP | calling(1.0, 0.0)).items()
        if name != "coverage_of_teacher"
    },
    "reasoner": CORE | LOOKING_UP | calling(1.0, 0.0),
    "always_search": CORE | LOOKING_UP | calling(1.0, 1.0),
    "never_search": CORE | MUTE | {"retrieval_closure": 0.0},
    "refuser": CORE | MUTE | knowing(1.0, 0.0, 0.0, 1.0) | {"retrieval_closure": 0.0},
    "abstainer": {
        **reasoning(0.0, collapse=1.0),
        **knowing(0.0, 0.0, 0.0, 0.2),
        **MUTE,
        **declining(1.0, 1.0, 0.0, 0.0),
        **same(0.0, "open_book", "counterfactual", "basics"),
    },
    "memoriser": {
        **reasoning(0.2),
        **knowing(1.0, 1.0, 0.0, 1.0),
        **BY_HEART,
        **same(0.2, "open_book", "counterfactual", "basics"),
        **declining(0.0, 0.0, 1.0, 100 * (250 - 210) / 460),  # 250 facts, and 150 + 60 inventions
        "auroc": 1.0,
        "ece": (250 * 0.1 + 210 * 0.4) / 460,
        "risk_at_80": (0.8 * 460 - 250) / (0.8 * 460),
    },
    "ignorer": {
        **reasoning(1.0),
        **knowing(1.0, 1.0, 0.0, 1.0),
        **BY_HEART,
        "open_book": 0.0,
        "counterfactual": 0.0,
        "basics": 1.0,
        "kb_off.abstained": 150 / 400,
        **declining(1.0, 120 / 480, 0.0, 100 * 250 / 460),
        "ece": 0.1,
        "risk_at_80": 0.0,
    },
    "collapsed": {
        **reasoning(0.2, collapse=1.0),
        **knowing(0.2, 0.2, 0.2, 0.2),
        **same(0.2, "open_book", "counterfactual", "basics"),
        **based(0.2, 0.0, 0.2, 0.2, 0.0),
        **calling(0.0, 0.0),
        **declining(0.0, 0.0, 1.0, 100 * (80 - 380) / 460),
        "auroc": 0.5,
        "ece": 0.9 - 80 / 460,
        "risk_at_80": 1 - 80 / 460,
    },
    "guesser": {
        **reasoning(0.2),
        **knowing(0.2, 0.2, 0.2, 0.2),
        **same(0.2, "open_book", "counterfactual", "basics"),
        **based(0.2, 0.0, 0.2, 0.2, 0.0),
        **calling(0.5, 0.5),
        **declining(0.0, 0.0, 1.0, 100 * (80 - 380) / 460),
        "pass_at_k/2": 1 - 0.8**2,
        "pass_at_k/4": ANY_OF_FOUR,
        "pass_gap": ANY_OF_FOUR - 0.2,
        "nines": 0.2**TRIES,
        "coverage_of_teacher": ANY_OF_FOUR,
        "distinct_answers": 5 * ANY_OF_FOUR / TRIES,
        # integral of |c - 80/460| over 0..1
        "auroc": 0.5,
        "risk_at_80": 1 - 80 / 460,
        "ece": 0.5 - 80 / 460 + (80 / 460) ** 2,
    },
}


@pytest.fixture(scope="module")
def card():
    models = [
        Teacher(),
        Reasoner(),
        AlwaysSearch(),
        NeverSearch(),
        Refuser(),
        Abstainer(),
        Memoriser(),
        Ignorer(),
        Collapsed(),
        Guesser(),
    ]
    rows = [row for model in models for rows in (open_rows, closed_rows) for row in rows(model)]
    return build_scorecard(
        rows, recipe="dummies", contenders=[model.name for model in models], bootstrap=1000, seed=1
    )


def numbers(card, contender):
    return {name: found[contender] for name, found in card["metrics"].items() if contender in found}


@pytest.mark.parametrize("contender", [name for name in EXPECTED if name != "guesser"])
def test_every_number_holds_what_is_known_of_the_dummy(card, contender):
    found = numbers(card, contender)
    assert set(found) == set(EXPECTED[contender]), (
        "what cannot be measured is absent, and nothing else is"
    )
    missed = {
        name: (value, found[name])
        for name, value in EXPECTED[contender].items()
        if not _holds(found[name], value)
    }
    assert missed == {}


def _holds(found, value, stretch=1.0):
    low, high = (
        found["value"] + stretch * (found[end] - found["value"]) for end in ("low", "high")
    )
    return low - 2e-6 <= value <= high + 2e-6


def test_a_guesser_is_held_by_nineteen_of_twenty_numbers(card):
    found, expected = numbers(card, "guesser"), EXPECTED["guesser"]
    assert set(found) == set(expected)
    missed = [name for name, value in expected.items() if not _holds(found[name], value)]
    assert len(missed) <= 0.1 * len(expected), missed
    assert [
        name for name, value in expected.items() if not _holds(found[name], value, stretch=2)
    ] == []


def test_intervals_are_narrow_enough_to_tell_dummies_apart(card):
    for metric, better, worse in (
        ("recall", "refuser", "reasoner"),
        ("reasoning", "reasoner", "memoriser"),
        ("youden_j", "reasoner", "always_search"),
        ("youden_j", "reasoner", "never_search"),
        ("retrieval_closure", "reasoner", "never_search"),
        ("kb_off.correct", "ignorer", "reasoner"),
        ("kb_swapped.followed", "reasoner", "ignorer"),
        ("pass_gap", "guesser", "collapsed"),
        ("template_collapse", "collapsed", "guesser"),
        ("auroc", "memoriser", "guesser"),
        ("counterfactual", "reasoner", "ignorer"),
    ):
        assert card["metrics"][metric][better]["low"] > card["metrics"][metric][worse]["high"], (
            metric
        )


def test_forced_choice_exposes_one_that_refuses(card):
    found = numbers(card, "refuser")
    assert found["recall_generated"]["high"] < 0.02 and found["kb_off.correct"]["high"] < 0.02
    assert found["recall"]["low"] > 0.95


def test_curves_go_where_the_dummies_do(card):
    curves = card["curves"]
    for name in (
        "calibration",
        "risk_coverage",
        "deferral",
        "tokens_by_difficulty",
        "accuracy_by_difficulty",
        "accuracy_by_budget",
        "accuracy_by_distractors",
        "recall_by_exposure",
    ):
        for contender, points in curves[name].items():
            assert points and [point["x"] for point in points] == sorted(
                point["x"] for point in points
            ), (name, contender)
            assert all(
                point["low"] <= point["y"] <= point["high"] and point["n"] > 0 for point in points
            ), (name, contender)
    assert [(p["x"], p["y"]) for p in curves["accuracy_by_budget"]["reasoner"]] == [
        (64, 0.75),
        (256, 1.0),
    ]
    assert [(p["x"], p["y"]) for p in curves["tokens_by_difficulty"]["reasoner"]] == [
        (0, 10),
        (1, 20),
        (2, 40),
        (3, 80),
    ]
    assert [(p["x"], p["y"]) for p in curves["accuracy_by_distractors"]["reasoner"]] == [
        (0, 1.0),
        (4, 1.0),
    ]
    assert [(p["x"], p["y"]) for p in curves["recall_by_exposure"]["memoriser"]] == [
        (1, 1.0),
        (4, 1.0),
    ]
    assert [(p["x"], p["y"]) for p in curves["calibration"]["memoriser"]] == [
        (0.4, 0.0),
        (0.9, 1.0),
    ]
    assert "deferral" in curves and "teacher" not in curves["deferral"]
    assert "calibration" not in {name for name in curves if "reasoner" in curves[name]}
