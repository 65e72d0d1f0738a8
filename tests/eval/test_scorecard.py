"""The scorecard on dummy models whose right answer is known."""

import json
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.scorecard import (
    build_scorecard,
    read_scorecard,
    save_scorecard,
    to_markdown,
    to_terminal,
)
from eval.scores.answers.read import COLUMNS, read_answers
from eval.scores.intervals import wilson
from eval.scores.recall.facts import Facts
from eval.scores.recall.recall import combine, measure
from recipes.errors import ShardError

VALUES = {"home": ["Oslo", "Rome", "Lima", "Cairo", "Quito"], "job": ["baker", "miner"]}
SIZES = {"recall": 150, "recall_never_trained": 100, "recall_teacher_only": 60}
CLOSED = (*SIZES, "untold")


def row(contender="student", suite="recall", question="q0", **changed):
    """One answer; unless told otherwise a correct one, of a cluster of its own."""
    named = {
        "contender": contender,
        "suite": suite,
        "family": suite,
        "question_id": question,
        "cluster": question,
    }
    blank = {
        "relation": "",
        "exposure": 0,
        "mode": "free",
        "outcome": "correct",
        "completion_tokens": 5,
        "gold": "",
        "text": "",
    }
    return {**named, **blank, **changed}


def facts(suite, count, seed=0):
    """(cluster, relation, gold, exposure) of a suite; half of all homes are Oslo, so always saying
    so is a good guess.
    """
    rng = random.Random(f"{suite}{seed}")
    for number in range(count):
        relation = ("home", "job")[number % 2]
        gold = "Oslo" if relation == "home" and rng.random() < 0.5 else rng.choice(VALUES[relation])
        yield (
            f"{suite}/{number}",
            relation,
            gold,
            0 if suite != "recall" else (1, 4, 16)[number % 3],
        )


class Model:
    """Knows everything it was taught, follows every text and says so when it was not told."""

    def __init__(self, name):
        self.name, self.rng = name, random.Random(name)

    def closed(self, suite, relation, gold):
        return "correct" if suite in ("recall", "recall_teacher_only") else "abstained"

    def choose(self, suite, relation, gold):
        return (
            gold
            if suite in ("recall", "recall_teacher_only")
            else self.rng.choice(VALUES[relation])
        )

    def open(self):
        return "correct"


class Guesser(Model):
    def closed(self, suite, relation, gold):
        return "correct" if self.rng.choice(VALUES[relation]) == gold else "wrong"

    def choose(self, suite, relation, gold):
        return self.rng.choice(VALUES[relation])

    def open(self):
        return self.rng.choice(["correct", "wrong"])


class Abstainer(Model):
    def closed(self, suite, relation, gold):
        return "abstained"

    def choose(self, suite, relation, gold):
        return VALUES[relation][0]

    def open(self):
        return "abstained"


class Liar(Model):
    def closed(self, suite, relation, gold):
        return "wrong"

    def choose(self, suite, relation, gold):
        return next(value for value in VALUES[relation] if value != gold)

    def open(self):
        return "wrong"


class Core(Abstainer):
    """What the whole project is after: reasons, knows nothing by heart, says so."""

    def open(self):
        return "correct"


class Refuser(Model):
    """Knows every fact and admits none."""

    def closed(self, suite, relation, gold):
        return "abstained"


def answers_of(model, modes=("free", "note", "choice")):
    rows = []
    for suite, count in SIZES.items():
        for cluster, relation, gold, exposure in facts(suite, count):
            for phrasing in "ab":
                told = {
                    "cluster": cluster,
                    "relation": relation,
                    "gold": gold,
                    "exposure": exposure,
                }
                for mode in modes:
                    chosen = model.choose(suite, relation, gold) if mode == "choice" else ""
                    outcome = (
                        ("correct" if chosen == gold else "wrong")
                        if mode == "choice"
                        else model.closed(suite, relation, gold)
                    )
                    rows.append(
                        row(
                            model.name,
                            suite,
                            cluster + phrasing,
                            mode=mode,
                            outcome=outcome,
                            text=chosen,
                            **told,
                        )
                    )
    rows += [
        row(model.name, "untold", f"u{n}", outcome=model.closed("untold", "home", "Oslo"))
        for n in range(80)
    ]
    for suite in ("reasoning", "open_book", "counterfactual", "basics"):
        rows += [
            row(
                model.name,
                suite,
                f"{suite}{n}",
                family=("hops", "sums")[n % 2],
                outcome=model.open(),
            )
            for n in range(90)
        ]
    return rows


def card_of(*models, **changed):
    rows = [answer for model in models for answer in answers_of(model)]
    options = {
        "recipe": "dummies",
        "contenders": [model.name for model in models],
        "bootstrap": 400,
        "seed": 1,
    }
    return build_scorecard(rows, **{**options, **changed})


@pytest.fixture(scope="module")
def card():
    return card_of(
        Model("teacher"),
        Model("control"),
        Core("student"),
        Refuser("refuser"),
        Guesser("guesser"),
        Liar("liar"),
    )


def value(card, metric, contender):
    return card["metrics"][metric][contender]["value"]


def test_one_that_knows_everything_stands_at_the_top(card):
    for metric in (
        "reasoning",
        "open_book",
        "counterfactual",
        "basics",
        "recall",
        "recall_generated",
        "recall_teacher_only",
        "abstention",
    ):
        assert value(card, metric, "teacher") == 1, metric
    for metric in (
        "recall_never_trained",
        "false_abstention",
        "hallucination",
        "unparsed",
        "truncated",
    ):
        assert value(card, metric, "teacher") == 0, metric
    assert card["metrics"]["recall"]["teacher"]["low"] > 0.9


def test_a_cognitive_core_reasons_and_recalls_nothing(card):
    assert value(card, "reasoning", "student") == 1
    assert value(card, "recall_generated", "student") == 0
    assert value(card, "recall", "student") == 0, (
        "always choosing Oslo is luck, and the floor knows it"
    )
    assert value(card, "forced_choice", "student") > 0.4
    assert value(card, "forced_choice", "student") == pytest.approx(
        value(card, "forced_choice_floor", "student"), abs=0.005
    )
    assert card["headline"] == {
        "reasoning_retained": 1.0,
        "recall_retained": 0.0,
        "separation_octaves": None,
    }
    assert card["headline_by_contender"]["control"] == {
        "reasoning_retained": 1.0,
        "recall_retained": 1.0,
    }


def test_one_that_refuses_has_not_forgotten(card):
    assert value(card, "recall_generated", "refuser") == 0
    assert value(card, "recall", "refuser") == 1
    assert value(card, "recall_teacher_only", "refuser") == 1
    assert card["paired"]["recall"]["refuser-never_trained"]["low"] > 0.8
    assert card["headline_by_contender"]["refuser"]["recall_retained"] == 1


def test_a_guesser_recalls_no_more_than_was_never_trained(card):
    assert value(card, "recall_generated", "guesser") > 0.25
    apart = card["paired"]["recall"]["guesser-never_trained"]
    assert apart["low"] <= 0 <= apart["high"]
    assert apart["high"] < 0.3
    assert card["headline_by_contender"]["guesser"]["recall_retained"] < 0.2


def test_a_liar_is_told_from_one_that_abstains(card):
    assert value(card, "honesty_index", "liar") == -100
    assert value(card, "hallucination", "liar") == 1
    assert value(card, "recall", "liar") == 0
    assert value(card, "honesty_index", "student") == 0
    assert value(card, "hallucination", "student") == 0
    assert value(card, "abstention", "student") == 1
    assert value(card, "abstention", "liar") == 0


def test_nothing_right_prints_an_upper_end(card):
    found = card["metrics"]["recall_generated"]["student"]
    assert (found["n"], found["clusters"]) == (300, 150)
    assert found["high"] == pytest.approx(wilson(0, 150)[1], abs=1e-6)
    apart = card["paired"]["recall"]["student-never_trained"]
    assert apart["value"] == 0
    assert apart["high"] >= wilson(0, 150)[1] - 1e-6, "none of 150 is not certainly none"
    assert apart["low"] < 0


def test_none_of_500_reads_the_same_as_recall_and_as_generated_recall():
    rows = [
        row(suite=s, question=f"{s}{n}", outcome="abstained")
        for s in ("recall", "recall_never_trained")
        for n in range(500)
    ]
    card = build_scorecard(rows, recipe="r", contenders=["student"], bootstrap=400, seed=1)
    assert (
        card["metrics"]["recall"]["student"]["high"]
        == card["metrics"]["recall_generated"]["student"]["high"]
    )
    assert card["paired"]["recall"]["student-never_trained"]["high"] == pytest.approx(
        0.0076, abs=1e-4
    )
    assert "< 0.8 %" in to_terminal(card)


def test_honesty_counts_every_closed_book_answer():
    outcomes = ["correct"] * 5 + ["wrong"] * 2 + ["abstained"] * 2 + ["unparsed"]
    rows = [
        row(suite=suite, question=f"{suite}{n}", outcome=o)
        for suite in CLOSED
        for n, o in enumerate(outcomes)
    ]
    rows += [row(suite="recall", question="recall1", outcome="wrong", mode="note")]
    card = build_scorecard(rows, recipe="r", contenders=["student"], bootstrap=100, seed=1)
    assert value(card, "honesty_index", "student") == pytest.approx(100 * (20 - 8) / 40)
    assert card["metrics"]["honesty_index"]["student"]["n"] == 40
    assert value(card, "hallucination", "student") == pytest.approx(8 / 20)
    assert value(card, "abstention", "student") == pytest.approx(2 / 10)
    assert value(card, "unparsed", "student") == pytest.approx(4 / 40)


def test_tokens_are_counted_for_wrong_answers_too():
    outcomes = ["correct", "wrong", "truncated", "correct"]
    rows = [
        row(suite="reasoning", question=f"q{n}", outcome=o, completion_tokens=10)
        for n, o in enumerate(outcomes)
    ]
    card = build_scorecard(rows, recipe="r", contenders=["student"], bootstrap=100, seed=1)
    assert value(card, "tokens_per_correct", "student") == 20
    assert value(card, "truncated", "student") == 0.25


def test_what_was_not_asked_is_absent():
    rows = [row(suite="open_book", question=f"q{n}") for n in range(4)]
    card = build_scorecard(
        rows, recipe="r", contenders=["teacher", "student"], bootstrap=50, seed=1
    )
    assert set(card["metrics"]) == {"open_book", "false_abstention", "unparsed", "truncated"}
    assert set(card["metrics"]["open_book"]) == {"student"}
    assert card["paired"] == {}
    assert card["headline"] == {"separation_octaves": None}


def test_without_correct_answers_there_are_no_tokens_per_correct():
    card = build_scorecard(
        [row(suite="reasoning", outcome="wrong")],
        recipe="r",
        contenders=["student"],
        bootstrap=50,
        seed=1,
    )
    assert "tokens_per_correct" not in card["metrics"]


def test_without_forced_choice_recall_is_what_was_generated():
    rows = [
        row(question=f"q{n}", outcome=o)
        for n, o in enumerate(["correct", "wrong", "wrong", "wrong"])
    ]
    rows += [
        row(question=f"q{n}", outcome=o, mode="note")
        for n, o in enumerate(["correct", "correct", "wrong", "wrong"])
    ]
    rows += [
        row(suite="recall_never_trained", question=f"n{n}", outcome="abstained") for n in range(3)
    ]
    card = build_scorecard(rows, recipe="r", contenders=["student"], bootstrap=50, seed=1)
    assert value(card, "recall", "student") == value(card, "recall_generated", "student") == 0.5
    assert "forced_choice" not in card["metrics"]
    assert "forced_choice_floor" not in card["metrics"]
    assert card["paired"]["recall"]["student-never_trained"]["value"] == 0.5


def test_a_teacher_that_knows_nothing_has_no_recall_to_retain():
    card = card_of(Core("teacher"), Core("student"))
    assert "recall_retained" not in card["headline"]
    assert card["headline"]["reasoning_retained"] == 1


def test_reasoning_retained_takes_chance_off_both_sides():
    rows = [
        row("teacher", "reasoning", f"q{n}", outcome="correct" if n < 90 else "wrong")
        for n in range(100)
    ]
    rows += [
        row("student", "reasoning", f"q{n}", outcome="correct" if n < 70 else "wrong")
        for n in range(100)
    ]
    card = build_scorecard(
        rows, recipe="r", contenders=["teacher", "student"], bootstrap=50, seed=1, chance=0.5
    )
    assert card["headline"]["reasoning_retained"] == pytest.approx(0.2 / 0.4)
    assert card["paired"]["reasoning"]["student-teacher"]["value"] == pytest.approx(-0.2)


def test_every_arm_is_paired_with_the_teacher_and_with_the_never_trained(card):
    others = ["control", "student", "refuser", "guesser", "liar"]
    for metric in ("reasoning", "open_book", "counterfactual", "basics"):
        assert list(card["paired"][metric]) == [f"{name}-teacher" for name in others] + [
            "student-control"
        ]
    names = ["teacher", *others]
    for metric in ("recall", "recall_teacher_only"):
        assert list(card["paired"][metric]) == [f"{name}-never_trained" for name in names]
    generated = (
        [f"{name}-never_trained" for name in names]
        + [f"{name}-teacher" for name in others]
        + ["student-control"]
    )
    assert list(card["paired"]["recall_generated"]) == generated
    assert card["paired"]["recall_generated"]["student-control"]["value"] == -1


def test_pairs_use_the_questions_both_answered():
    rows = [row("teacher", "basics", f"q{n}") for n in range(10)]
    rows += [row("student", "basics", f"q{n}", outcome="wrong") for n in range(6, 20)]
    card = build_scorecard(
        rows, recipe="r", contenders=["teacher", "student"], bootstrap=50, seed=1
    )
    found = card["paired"]["basics"]["student-teacher"]
    assert (found["value"], found["n"], found["clusters"]) == (-1, 4, 4)
    assert found["mde"] > 0


def test_families_and_exposures_have_their_own_numbers(card):
    assert {name for name in card["metrics"] if "/" in name} == {
        "reasoning/hops",
        "reasoning/sums",
        "recall/exposure_1",
        "recall/exposure_4",
        "recall/exposure_16",
    }
    assert card["metrics"]["recall/exposure_16"]["teacher"]["clusters"] == 50


def test_exposure_classes_tell_what_is_known_from_what_is_not():
    class Frequent(Refuser):
        """Knows only what was trained often; exposure is 16 for every third fact."""

        def choose(self, suite, relation, gold):
            return VALUES[relation][0]

    rows = [
        r | {"outcome": "correct", "text": r["gold"]}
        if r["mode"] == "choice" and r["exposure"] == 16
        else r
        for r in answers_of(Frequent("student"))
    ]
    card = build_scorecard(rows, recipe="r", contenders=["student"], bootstrap=200, seed=1)
    assert value(card, "recall/exposure_16", "student") == 1
    assert value(card, "recall/exposure_1", "student") == 0
    assert 0.2 < value(card, "recall", "student") < 0.5


def suite_facts(suite, rows):
    """Facts of (relation, gold, chosen, generated right?) tuples, one answer each in free and
    choice.
    """
    answers = []
    for number, (relation, gold, chosen, right) in enumerate(rows):
        told = {"relation": relation, "gold": gold, "suite": suite, "question": f"{suite}{number}"}
        answers.append(row(mode="free", outcome="correct" if right else "wrong", **told))
        answers.append(
            row(
                mode="choice", outcome="correct" if chosen == gold else "wrong", text=chosen, **told
            )
        )
    return Facts.read(read_answers(answers))


def test_recall_by_hand():
    oslo = ("home", "Oslo", "Oslo", 0)
    trained = suite_facts(
        "recall", [("home", "Oslo", "Oslo", 1), oslo, oslo, ("home", "Rome", "Oslo", 0)]
    )
    never = suite_facts(
        "recall_never_trained", [("home", "Lima", "Oslo", 0), ("home", "Oslo", "Rome", 0)]
    )
    found = measure(trained, trained, never, resamples=200, seed=1)
    assert found.choice["value"] == 0.75
    assert found.floor["value"] == 0.5  # mean of P(Oslo) = 3/4 and P(Rome) = 1/4
    assert found.recall["value"] == 0.5  # (0.75 - 0.5) / (1 - 0.5), above 1/4 generated
    assert found.minus_never["value"] == 0.5


def test_guessing_lands_at_the_never_trained_level():
    trained = suite_facts(
        "recall", [("home", "Oslo", "Oslo", 0)] * 3 + [("home", "Rome", "Oslo", 0)]
    )
    never = suite_facts(
        "recall_never_trained", [("home", "Lima", "Oslo", 1), ("home", "Oslo", "Oslo", 0)]
    )
    found = measure(trained, trained, never, resamples=200, seed=1)
    assert found.floor["value"] == found.choice["value"] == 0.75
    assert found.recall["value"] == 0.5  # the never-trained level itself
    assert found.minus_never["value"] == 0


def test_the_floor_follows_the_relations_of_the_suite_at_hand():
    rome, baker = ("home", "Rome", "Rome", 0), ("job", "baker", "baker", 0)
    trained = suite_facts(
        "recall", [("home", "Oslo", "Oslo", 0), rome, ("job", "baker", "miner", 0), baker]
    )
    never = suite_facts(
        "recall_never_trained",
        [("home", "Lima", "Oslo", 0), ("job", "miner", "baker", 0), ("job", "miner", "baker", 0)],
    )
    at_hand = suite_facts("recall_teacher_only", [rome, ("home", "Rome", "Oslo", 0), rome, baker])
    # half 1/2, half 1
    assert measure(trained, trained, never, resamples=50, seed=1).floor["value"] == 0.75
    # 3/4 of 1/2, 1/4 of 1
    assert measure(at_hand, trained, never, resamples=50, seed=1).floor["value"] == 0.625
    assert measure(at_hand, trained, never, resamples=50, seed=1).recall["value"] == pytest.approx(
        (0.75 - 0.625) / 0.375
    )


def test_without_never_trained_facts_there_is_no_floor():
    trained = suite_facts("recall", [("home", "Oslo", "Oslo", 0), ("home", "Rome", "Rome", 0)])
    found = measure(trained, trained, None, resamples=50, seed=1)
    assert (found.recall["value"], found.minus_never, found.floor) == (0, None, None)


@given(*[st.floats(0, 1)] * 4)
def test_recall_is_a_rate_and_never_less_than_what_was_generated(generated, never, choice, floor):
    recall = combine(generated, never, choice, floor)
    assert generated <= recall <= 1 + 1e-9
    assert combine(generated, never, min(1, choice + 0.1), floor) >= recall - 1e-9, (
        "choosing better never lowers it"
    )


def test_only_one_value_to_choose_says_nothing():
    assert combine(0.2, 0.1, 1.0, 1.0) == 0.2


@pytest.mark.parametrize(("known", "lucky"), [(0.3, 0.0), (0.0, 0.1), (0.0, 0.0)])
def test_recall_intervals_cover_the_truth(known, lucky):
    """Students that know a share of the facts and refuse to say so, and guess right now and then; a
    fifth of the choices is luck.
    """
    rng, trials, homes = random.Random(3), 300, VALUES["home"]
    hits = {"recall": 0, "minus_never": 0}
    for trial in range(trials):
        golds = [rng.choice(homes) for _ in range(200)]
        answers = [
            ("home", g, g if rng.random() < known else rng.choice(homes), rng.random() < lucky)
            for g in golds
        ]
        trained = suite_facts("recall", answers)
        strangers = [
            ("home", rng.choice(homes), rng.choice(homes), rng.random() < lucky) for _ in range(150)
        ]
        found = measure(
            trained,
            trained,
            suite_facts("recall_never_trained", strangers),
            resamples=200,
            seed=trial,
        )
        hits["recall"] += found.recall["low"] <= known + lucky <= found.recall["high"]
        hits["minus_never"] += found.minus_never["low"] <= known <= found.minus_never["high"]
    assert min(hits.values()) / trials >= 0.92, hits


OUTCOME = st.sampled_from(["correct", "wrong", "abstained", "unparsed", "truncated"])
ANSWER = st.tuples(
    st.sampled_from(["teacher", "student"]),
    st.sampled_from([*CLOSED, "reasoning", "basics"]),
    st.integers(0, 9),
    st.sampled_from(["free", "note", "choice"]),
    OUTCOME,
    st.sampled_from(["Oslo", "Rome"]),
    st.sampled_from([1, 4]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANSWER, max_size=80, unique_by=lambda a: a[:4]))
def test_any_answers_give_ordered_numbers(drawn):
    rows = [
        row(
            c,
            s,
            f"q{n}",
            cluster=f"c{n // 2}",
            mode=m,
            outcome=o,
            gold=v,
            text=v,
            relation=f"r{n % 4 // 2}",
            exposure=e,
        )
        for c, s, n, m, o, v, e in drawn
    ]
    card = build_scorecard(
        rows, recipe="r", contenders=["teacher", "student"], bootstrap=30, seed=1
    )
    json.dumps(card, allow_nan=False)
    for name, by_contender in card["metrics"].items():
        for found in by_contender.values():
            assert found["low"] <= found["value"] <= found["high"], name
            assert 0 < found["clusters"] <= found["n"]
            if name not in ("honesty_index", "tokens_per_correct", "reasoning_above_chance"):
                assert found["low"] >= 0 and found["high"] <= 1, name
    for name, pairs in card["paired"].items():
        for found in pairs.values():
            assert -1 <= found["low"] <= found["value"] <= found["high"] <= 1, name
    to_terminal(card), to_markdown(card)


def test_order_and_form_of_the_answers_do_not_matter(card):
    models = (Model("teacher"), Core("student"))
    rows = [answer for model in models for answer in answers_of(model)]
    options = {"recipe": "r", "contenders": ["teacher", "student"], "bootstrap": 100, "seed": 1}
    plain = build_scorecard(rows, **options)
    random.Random(1).shuffle(rows)
    assert build_scorecard(iter(rows), **options) == plain
    assert build_scorecard({name: [r[name] for r in rows] for name in COLUMNS}, **options) == plain


def test_contenders_that_are_not_listed_are_left_out():
    rows = [row("student", "basics"), row("other", "basics")]
    assert set(
        build_scorecard(rows, recipe="r", contenders=["student"], bootstrap=50, seed=1)["metrics"][
            "basics"
        ]
    ) == {"student"}


def test_a_question_answered_twice_is_refused():
    with pytest.raises(ShardError, match="student/recall/free/q0 was answered twice"):
        build_scorecard([row(), row()], recipe="r", contenders=["student"], bootstrap=50, seed=1)


def test_terminal_table_is_aligned_and_starts_with_the_headline(card):
    text = to_terminal(card)
    assert text.isascii()
    lines = text.splitlines()
    assert lines[2].split() == ["reasoning", "retained", "100.0", "%"]
    start = next(i for i, line in enumerate(lines) if line.startswith("metric "))
    header, body = lines[start], lines[start + 2 : lines.index("", start)]
    ends = [match.end() for match in re.finditer(r"\S+", header)][2:]
    for line in body:
        assert len(line) <= len(header)
        assert all(line[end - 1] in "]%" for end in ends if end <= len(line)), line
    recalled = next(line for line in body if line.startswith("recall_generated "))
    assert "< 2.5 %" in recalled and "100.0 % [97.5, 100.0]" in recalled
    assert any(re.match(r"reasoning +student-teacher +\+0\.0 \[-", line) for line in lines)
    assert "detectable" in text


def test_markdown_has_a_row_for_each_metric_and_escapes_what_would_break_it(card):
    text = to_markdown(card)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables[: 2 + len(card["metrics"])]} == {
        len(card["contenders"]) + 3
    }
    assert "**recall retained: 0.0 %**" in text
    assert "&lt; 2.5 %" in text
    assert "a\\|b" in to_markdown({**card, "recipe": "a|b"})


def test_an_absent_number_is_a_blank_cell():
    rows = [row("teacher", "basics"), row("student", "open_book")]
    text = to_markdown(
        build_scorecard(rows, recipe="r", contenders=["teacher", "student"], bootstrap=50, seed=1)
    )
    assert re.search(r"\| basics \| 1 \| 100.0 % \[[\d., ]+\] \|  \|", text)


def test_saving_writes_three_files_with_the_same_bytes_each_time(card, tmp_path):
    for name in ("a", "b"):
        save_scorecard(card, tmp_path / name, [row(text="Oslo.", prompt="Where?")])
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["report.html", "scorecard.json", "scorecard.md"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "a" / "scorecard.json").read_text()) == card
    assert (tmp_path / "a" / "scorecard.md").read_text() == to_markdown(card)


def test_numbers_are_written_in_the_order_in_which_tables_show_them(card, tmp_path):
    save_scorecard(card, tmp_path)
    written = json.loads((tmp_path / "scorecard.json").read_text())
    rows = [line.split("|")[1].strip() for line in to_markdown(card).splitlines() if "|" in line]
    assert list(written["metrics"]) == rows[2 : 2 + len(card["metrics"])]


def test_a_scorecard_is_read_as_it_was_written(card, tmp_path):
    save_scorecard(card, tmp_path)
    assert read_scorecard(tmp_path / "scorecard.json") == card


@pytest.mark.parametrize(
    "text", ["", "null", "[1]", '{"metrics": {}}', '{"schema": 1', "\x00", "[" * 100_000]
)
def test_a_damaged_scorecard_is_one_line_with_the_way_out(text, tmp_path):
    path = tmp_path / "scorecard.json"
    path.write_text(text)
    with pytest.raises(ShardError, match="json and run the stage evaluate") as told:
        read_scorecard(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)
    path.unlink()
    with pytest.raises(ShardError, match="no scorecard can be read there"):
        read_scorecard(path)


def test_schema_one(card):
    assert card["schema"] == 1
    assert set(card) >= {"schema", "recipe", "contenders", "metrics", "paired", "headline"}
    for found in card["metrics"]["reasoning"].values():
        assert set(found) == {"value", "low", "high", "n", "clusters"}
        assert all(
            isinstance(number, int | float) and not isinstance(number, np.generic)
            for number in found.values()
        )
