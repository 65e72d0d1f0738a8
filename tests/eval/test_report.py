"""The report: one well-formed page that nothing a model writes can break, and drawings whose numbers are right."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from eval.report import QUESTIONS_PER_SUITE, to_html

ATTACK = '<script>alert("1")</script></td></table>&amp; <img src=x onerror=alert(1)>'


def number(value, spread=0.05):
    return {"value": value, "low": max(0.0, value - spread), "high": min(1.0, value + spread), "n": 200, "clusters": 100}


@pytest.fixture
def card():
    contenders = ["teacher", "control", "student"]
    table = {
        "reasoning": (0.99, 0.97, 0.96),
        "recall": (1.0, 0.97, 0.0),
        "reasoning/hops": (0.98, 0.96, 0.95),
        "reasoning/sums": (1.0, 0.98, 0.5),
        "recall/exposure_1": (1.0, 0.9, 0.0),
        "recall/exposure_16": (1.0, 1.0, 0.1),
        "recall/exposure_4": (1.0, 0.95, 0.0),
    }
    metrics = {name: {c: number(v) for c, v in zip(contenders, values, strict=True)} for name, values in table.items()}
    metrics["honesty_index"] = {"student": {"value": -12.5, "low": -20.0, "high": -5.0, "n": 10, "clusters": 10}}
    apart = {"value": -0.03, "low": -0.05, "high": -0.01, "n": 200, "clusters": 100, "mde": 0.028}
    return {
        "schema": 1,
        "recipe": "planted_world",
        "contenders": contenders,
        "metrics": metrics,
        "paired": {"reasoning": {"student-teacher": apart}},
        "headline": {"reasoning_retained": 0.9697, "recall_retained": 0.0, "separation_octaves": None},
    }


def sample(**changed):
    named = {"contender": "student", "suite": "recall", "question_id": "q1", "mode": "free"}
    return named | {"outcome": "wrong", "gold": "Oslo", "text": "Rome."} | changed


def parsed(page):
    """The page as XML; raises where it is not well formed."""
    doctype, _, document = page.partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ET.fromstring(document)


def marks(page, path):
    return parsed(page).findall(f".//{path}")


def test_the_page_is_well_formed_and_needs_nothing_from_outside(card):
    page = to_html(card, [sample()])
    root = parsed(page)
    assert page.isascii()
    assert {element.tag for element in root.iter()}.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert not re.search(r"https?:|url\(|@import| on\w+=", page)
    assert "prefers-color-scheme: dark" in page


def test_what_a_model_writes_is_shown_and_never_run(card):
    page = to_html(card, [sample(text=ATTACK, gold=ATTACK, prompt=ATTACK, contender=ATTACK, suite=ATTACK, mode=ATTACK)])
    assert "<script" not in page
    assert "<img" not in page
    shown = ["".join(cell.itertext()) for cell in marks(page, "td")]
    assert ATTACK in shown, "the text itself is still there to read"


def test_names_from_the_recipe_are_escaped_too(card):
    card["recipe"] = ATTACK
    card["contenders"] = ["teacher", "control", ATTACK]
    card["metrics"] = {name: {**found, ATTACK: number(0.5)} for name, found in card["metrics"].items()}
    card["metrics"]["reasoning/<b>"] = {ATTACK: number(0.5)}
    page = to_html(card, [])
    parsed(page)
    assert "<script" not in page and "<img" not in page and "<b>hops" not in page


def test_characters_that_no_document_may_hold_are_replaced(card):
    page = to_html(card, [sample(text="a\x00b\x0bc\ud800d\ufffee")])
    assert "a?b?c?d?e" in [cell.text for cell in marks(page, "td")]
    page.encode("utf-8")


def test_points_lie_where_their_numbers_say(card):
    circles = {c.find("title").text.split(":")[0]: (float(c.get("cx")), float(c.get("cy"))) for c in marks(to_html(card, []), "circle")}
    assert set(circles) == {"teacher", "control", "student"}
    left, top, right, bottom = 64, 20, 530, 344
    assert circles["student"] == pytest.approx((left, bottom - 0.96 * (bottom - top)), abs=0.06)
    assert circles["teacher"] == pytest.approx((right, bottom - 0.99 * (bottom - top)), abs=0.06)


@pytest.mark.parametrize("height", [0.9, 0.0])
def test_labels_of_near_points_do_not_cover_each_other_or_the_axis(card, height):
    card["metrics"]["recall"] = {name: number(0.5) for name in card["contenders"]}
    card["metrics"]["reasoning"] = {name: number(height) for name in card["contenders"]}
    rows = sorted(float(t.get("y")) for t in marks(to_html(card, []), "text") if t.text in card["contenders"])
    assert len(rows) == 3
    assert min(b - a for a, b in pairwise(rows)) >= 14
    assert max(rows) < 344 - 5


def test_bars_are_as_long_as_their_numbers(card):
    bars = {b.find("title").text: float(b.get("width")) for b in marks(to_html(card, []), "rect") if b.find("title") is not None}
    assert bars["student: 50.0 % [45.0, 55.0]"] == pytest.approx(470 * 0.5, abs=0.06)
    assert len(bars) == len(set(bars)) and len([w for w in bars.values() if w == 0]) == 1  # both empty bars say "< 5.0 %"


def test_exposure_classes_stand_in_the_order_of_their_numbers(card):
    words = [t.text for t in marks(to_html(card, []), "text") if t.text.startswith("exposure ")]
    assert words == ["exposure 1", "exposure 4", "exposure 16"]


def test_headline_and_all_numbers_are_there(card):
    page = to_html(card, [])
    assert [b.text for b in marks(page, "b")] == ["97.0 %", "0.0 %"]
    told = ["".join(cell.itertext()) for cell in marks(page, "td")]
    for wanted in ("99.0 % [94.0, 100.0]", "< 5.0 %", "-12.5 [-20.0, -5.0]", "-3.0 [-5.0, -1.0]", "2.8"):
        assert wanted in told, wanted


def test_parts_without_numbers_are_left_out(card):
    bare = {**card, "metrics": {"basics": {"student": number(0.5)}}, "paired": {}, "headline": {"separation_octaves": None}}
    page = to_html(bare, [])
    assert [h.text for h in marks(page, "h2")] == ["All numbers"]
    assert marks(page, "svg") == []


def test_a_few_questions_a_suite_with_every_contenders_answer(card):
    samples = [
        sample(question_id=f"q{n}", suite=suite, contender=name, prompt=f"Where does {n} live?")
        for name in ("teacher", "student")
        for suite in ("recall", "untold")
        for n in range(9)
    ]
    page = to_html(card, samples)
    assert [h.text for h in marks(page, "h3")] == ["recall", "untold"]
    answers = [row for row in marks(page, "tr") if row[-1].text == "Rome."]
    assert len(answers) == 2 * 2 * QUESTIONS_PER_SUITE
    assert [answers[0][0].text, answers[1][0].text] == ["teacher (free)", "student (free)"]
    assert "Where does 0 live? (reference: Oslo)" in page


def test_long_answers_are_cut(card):
    shown = [cell.text for cell in marks(to_html(card, [sample(text="x" * 5000)]), "td")]
    assert "x" * 600 + " ..." in shown


def test_the_same_card_gives_the_same_page(card):
    assert to_html(card, [sample()]) == to_html(card, [sample()])
