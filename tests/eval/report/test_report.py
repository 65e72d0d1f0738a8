"""The report: one well-formed page that nothing a model writes can break, and drawings whose
numbers are right.
"""

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from eval.report.charts import NUM_STYLES, PLANE, ROWS_WIDTH
from eval.report.curve_plots import BOTTOM, KINDS, LEFT, TOP
from eval.report.html import to_html
from eval.report.published import published, scores_of
from eval.report.sections import QUESTIONS_PER_SUITE
from eval.report.style import DARK, LIGHT, OUTCOMES_DARK, OUTCOMES_LIGHT, PAPER
from eval.report.svg import SHAPES
from tests.eval.report.cards import full_card, full_samples, number, sample

ATTACK = '<script>alert("1")</script></td></table>&amp; <img src=x onerror=alert(1)>'


@pytest.fixture
def card():
    contenders = ["teacher", "control", "student"]
    table = {
        "reasoning": (0.99, 0.97, 0.96),
        "recall": (1.0, 0.97, 0.0),
        "reasoning/hops": (0.98, 0.96, 0.95),
        "reasoning/sums": (1.0, 0.0, 0.5),
        "recall/exposure_1": (1.0, 0.9, 0.0),
        "recall/exposure_16": (1.0, 1.0, 0.1),
        "recall/exposure_4": (1.0, 0.95, 0.0),
    }
    metrics = {
        name: {c: number(v) for c, v in zip(contenders, values, strict=True)}
        for name, values in table.items()
    }
    metrics["honesty_index"] = {
        "student": {"value": -12.5, "low": -20.0, "high": -5.0, "n": 10, "clusters": 10}
    }
    apart = {"value": -0.03, "low": -0.05, "high": -0.01, "n": 200, "clusters": 100, "mde": 0.028}
    return {
        "schema": 1,
        "recipe": "planted_world",
        "contenders": contenders,
        "metrics": metrics,
        "paired": {"reasoning": {"student-teacher": apart}},
        "headline": {
            "reasoning_retained": 0.9697,
            "recall_retained": 0.0,
            "separation_octaves": None,
        },
    }


def parsed(page):
    """The page as XML; raises where it is not well formed."""
    doctype, _, document = page.partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ET.fromstring(document)


def said(page):
    """The answers as a reader sees them."""
    return ["".join(text.itertext()) for text in marks(page, "article/p")]


def drawn(page):
    """Where the marks of contenders lie: what each says -> (x, y)."""
    found = {}
    for mark in marks(page, "g/circle") + marks(page, "g/polygon"):
        if mark.find("title") is not None:
            at = mark.get("data-at") or f"{mark.get('cx')} {mark.get('cy')}"
            found[mark.find("title").text] = tuple(map(float, at.split()))
    return found


def marks(page, path):
    return parsed(page).findall(f".//{path}")


def test_the_page_is_well_formed_and_needs_nothing_from_outside(card):
    page = to_html(card, [sample()])
    root = parsed(page)
    assert page.isascii()
    assert {element.tag for element in root.iter()}.isdisjoint(
        {"script", "link", "img", "iframe", "object"}
    )
    assert not re.search(r"https?:|url\(|@import| on\w+=", page)
    assert "prefers-color-scheme: dark" in page


def test_what_a_model_writes_is_shown_and_never_run(card):
    page = to_html(
        card,
        [
            sample(
                text=ATTACK, gold=ATTACK, prompt=ATTACK, contender=ATTACK, suite=ATTACK, mode=ATTACK
            )
        ],
    )
    assert "<script" not in page
    assert "<img" not in page
    assert ATTACK in said(page), "the text itself is still there to read"


def test_names_from_the_recipe_are_escaped_too(card):
    card["recipe"] = ATTACK
    card["contenders"] = ["teacher", "control", ATTACK]
    card["metrics"] = {
        name: {**found, ATTACK: number(0.5)} for name, found in card["metrics"].items()
    }
    card["metrics"]["reasoning/<b>"] = {ATTACK: number(0.5)}
    page = to_html(card, [])
    parsed(page)
    assert "<script" not in page and "<img" not in page and "<b>hops" not in page


def test_characters_that_no_document_may_hold_are_replaced(card):
    page = to_html(card, [sample(text="a\x00b\x0bc\ud800d\ufffee")])
    assert said(page) == ["a?b?c?d?e"]
    page.encode("utf-8")


def test_points_lie_where_their_numbers_say(card):
    points = {
        told.split(":")[0]: at
        for told, at in drawn(to_html(card, [])).items()
        if ", reasoning " in told
    }
    assert set(points) == {"teacher", "control", "student"}
    (recall, reasoning), height = PLANE, 336 - 30
    assert points["student"] == pytest.approx((recall.start, 336 - 0.96 * height), abs=0.06)
    assert points["teacher"] == pytest.approx(
        (recall.end, reasoning.start - 0.99 * height), abs=0.06
    )


@pytest.mark.parametrize("height", [0.9, 0.0])
def test_labels_of_near_points_do_not_cover_each_other_or_the_axis(card, height):
    card["metrics"]["recall"] = {name: number(0.5) for name in card["contenders"]}
    card["metrics"]["reasoning"] = {name: number(height) for name in card["contenders"]}
    rows = sorted(
        float(t.get("y"))
        for t in marks(to_html(card, []), "svg")[0].iter("text")
        if t.text in card["contenders"]
    )
    assert len(rows) == 3
    assert min(b - a for a, b in pairwise(rows)) >= 14
    assert max(rows) < 336 - 5


def test_bars_are_as_long_as_their_numbers(card):
    bars = {
        b.find("title").text: float(b.get("width"))
        for b in marks(to_html(card, []), "rect")
        if b.find("title") is not None
    }
    assert bars["student: 50.0 % [45.0, 55.0]"] == pytest.approx(300 * 0.5, abs=0.06)
    assert len(bars) == len(set(bars)) and len([w for w in bars.values() if w == 0]) == 1


def test_exposure_classes_become_a_curve_in_the_order_of_their_numbers(card):
    words = [t.text for t in marks(to_html(card, []), "text") if t.text in ("1", "4", "16")]
    assert words == ["1", "4", "16"]
    told = [told for told in drawn(to_html(card, [])) if told.startswith("control: exposure")]
    assert told == [
        "control: exposure 1, recall 90 % [85, 95], n 200",
        "control: exposure 4, recall 95 % [90, 100], n 200",
        "control: exposure 16, recall 100 % [95, 100], n 200",
    ]


def test_headline_and_all_numbers_are_there(card):
    page = to_html(card, [])
    assert [b.text for b in marks(page, "header/div/div/b")] == ["97.0 %", "0.0 %"]
    told = ["".join(cell.itertext()) for cell in marks(page, "td")]
    for wanted in (
        "99.0 % [94.0, 100.0]",
        "< 5.0 %",
        "-12.5 [-20.0, -5.0]",
        "-3.0 [-5.0, -1.0]",
        "2.8",
    ):
        assert wanted in told, wanted


def test_parts_without_numbers_are_left_out(card):
    bare = {
        **card,
        "metrics": {"basics": {"student": number(0.5)}},
        "paired": {},
        "headline": {"separation_octaves": None},
    }
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
    assert said(page) == ["Rome."] * 2 * 2 * QUESTIONS_PER_SUITE
    asked = marks(page, "div[@class='asked']")
    assert len(asked) == 2 * QUESTIONS_PER_SUITE
    assert "".join(asked[0].find("p").itertext()) == "Where does 0 live? (reference: Oslo)"
    assert ["".join(name.itertext()) for name in asked[0].findall(".//header/span[1]")] == [
        "teacher",
        "student",
    ], "in the card's order"


def test_long_answers_are_cut(card):
    assert said(to_html(card, [sample(text="x" * 5000)])) == ["x" * 600 + " ..."]


def test_the_same_card_gives_the_same_page(card):
    assert to_html(card, [sample()]) == to_html(card, [sample()])
    assert to_html(full_card(), full_samples()) == to_html(full_card(), full_samples())


def test_everything_is_drawn_once_where_the_card_has_it():
    page = to_html(full_card(), full_samples())
    parsed(page)
    told = [h.text for h in marks(page, "h2")]
    assert told[:5] == [
        "Gates",
        "Reasoning against recall",
        "Reasoning by family",
        "Sizes",
        "Recall under attack",
    ]
    assert told[5:] == [
        "With tools",
        "Curves",
        "Answers side by side",
        "All numbers",
        "Differences",
    ]
    assert [b.text for b in marks(page, "figcaption/b")] == [kind.title for kind in KINDS.values()]


def test_nothing_is_drawn_of_empty_parts(card):
    bare = {
        **card,
        "curves": {"calibration": {}, "entropy": {"student": []}},
        "sizes": {"ladder": [], "octaves": {}},
        "gates": [],
    }
    assert to_html(bare, []) == to_html(card, [])


@pytest.mark.parametrize("name", KINDS)
def test_a_curve_of_one_point_and_without_intervals_is_drawn(card, name):
    card["curves"] = {
        name: {
            "student": [{"x": 1, "y": 0.0}],
            "a stranger <b>": [{"x": 1, "y": 0.5, "low": None, "high": None}],
        }
    }
    page = to_html(card, [])
    parsed(page)
    assert "a stranger .." in page and "<b>:" not in page


def test_a_shade_spans_the_interval_of_each_point(card):
    points = [{"x": x, "y": 0.5, "low": 0.25, "high": 1.0, "n": 9} for x in (0, 1)]
    card["curves"] = {"calibration": {"student": points}}
    (shade,) = [
        p
        for p in marks(to_html({**card, "metrics": {}}, []), "polygon")
        if p.get("class") == "band"
    ]
    corners = [tuple(map(float, pair.split(","))) for pair in shade.get("points").split()]
    height = BOTTOM - TOP
    assert [y for _, y in corners] == pytest.approx([BOTTOM - height / 4] * 2 + [TOP] * 2, abs=0.06)
    assert corners[0][0] == corners[3][0] == LEFT


def test_a_contender_lies_on_the_ladder_where_its_size_says():
    full = full_card()
    points = {told: at for told, at in drawn(to_html(full, [])).items() if "like" in told}
    told = [words for words in points if words.startswith("student: < ")]
    assert len(told) == 1 and told[0].endswith("like < 30k total parameters")
    found = {words.split(":")[0]: at for words, at in points.items() if "active" in words}
    large, small = (full["sizes"]["reasoning"][name]["value"] for name in ("student", "base"))
    (x_large, y_large), (x_small, y_small) = found["student"], found["base"]
    low, high = 30_000 * 1.3 / 2.5 / 1.6, 1.6 * 30_000 * 2.6**4
    assert (x_large - x_small) / (404 - 44) == pytest.approx(
        math.log(large / small) / math.log(high / low), abs=0.001
    )
    assert y_large == pytest.approx(236 - 0.987 * (236 - 34), abs=0.06) and y_small > 225
    words = [t.text for t in marks(to_html(full, []), "text")]
    assert "student or less" in words and "teacher or more" in words


def test_octaves_are_a_headline_with_the_side_on_which_they_are_open():
    told = {
        b.find("b").text: b.find("span").text
        for b in marks(to_html(full_card(), []), "section/div/div")
    }
    known = "student: octaves from recall size to reasoning size [+3.8, open]; against control > +4.7 [+3.9, open]"
    assert set(told) == {"unknown", "+0.4", "> +5.1"} and told["> +5.1"] == known


def test_an_axis_that_a_ladder_cannot_measure_says_why(card):
    card["sizes"] = {
        "reasoning": {},
        "recall": {},
        "octaves": {},
        "ladder": [],
        "refused": {"recall": "two rungs <b>"},
    }
    assert "recall: two rungs <b>" in [p.text for p in marks(to_html(card, []), "p")]


def test_a_size_of_which_nothing_is_known_is_not_placed():
    full = full_card()
    full["sizes"]["recall"]["student"] = {
        "value": None,
        "low": None,
        "high": None,
        "censored": "unknown",
    }
    assert not any(
        told.startswith("student") and "total" in told for told in drawn(to_html(full, []))
    )


def test_attacks_stand_beside_recall_and_only_where_they_were_made():
    page = to_html(full_card(), [])
    bars = {
        b.find("title").text: float(b.get("width"))
        for b in marks(page, "rect")
        if b.find("title") is not None
    }
    assert bars["student, rest, after relearning: 3.0 % [1.0, 5.0]"] == pytest.approx(
        0.03 * ROWS_WIDTH, abs=0.06
    )
    assert sum(told.startswith("teacher, ") for told in bars) == 3
    assert not any(told.startswith("base, ") for told in bars)


def test_what_is_done_with_tools_is_drawn_of_those_who_had_them():
    page = to_html(full_card(), [])
    bars = {
        b.find("title").text: float(b.get("width"))
        for b in marks(page, "rect")
        if b.find("title") is not None
    }
    assert bars["student, entry gone: declines: 95.0 % [92.0, 98.0]"] == pytest.approx(
        0.95 * ROWS_WIDTH, abs=0.06
    )
    assert not any(told.startswith("teacher, entry gone") for told in bars)
    plain_card = full_card()
    plain_card["metrics"] = {
        name: found for name, found in plain_card["metrics"].items() if not name.startswith("kb_")
    }
    assert "With tools" not in [h.text for h in marks(to_html(plain_card, []), "h2")]


def test_answers_with_tools_say_how_the_base_stood_and_what_was_called():
    call = '[{"type": "function", "function": {"name": "lookup", "arguments": {"query": "Where does Mara live?"}}}]'
    talk = f"assistant: {call}\ntool: Where does Mara live? <b>Bergen</b>.\nassistant: Bergen."
    one = sample(
        suite="recall",
        question_id="recall/0",
        prompt="Where does Mara live?",
        gold="Oslo",
        contender="student",
        outcome="wrong",
        text="Bergen.",
    )
    asked = [
        one | {"base": "SWAPPED", "swapped_gold": "Bergen", "talk": talk},
        one | {"base": "DELETED", "talk": "assistant: [{broken"},
    ]
    follows, gone = marks(to_html(full_card(), asked), "article")
    assert follows.get("class") == "answer correct" and "".join(
        follows.find("header").itertext()
    ).endswith("follows")
    assert follows.find("header/span").find("svg").tail == "student, entry changed to Bergen"
    assert (
        "".join(follows.find("p").itertext())
        == "lookup: Where does Mara live?\ntool: Where does Mara live? <b>Bergen</b>.\nBergen."
    )
    assert (
        gone.get("class") == "answer wrong"
        and gone.find("header/span").find("svg").tail == "student, entry gone"
    )


def test_gates_say_what_holds_in_words_and_signs():
    told = [
        "".join(line.itertext())
        for line in marks(to_html(full_card(), []), "ul[@class='gates']/li")
    ]
    assert told[0] == "\u2713 holdsreasoning retained at least 0.95found: 0.997"
    assert told[2].startswith("\u2717 fails")


def test_outcomes_are_told_by_sign_and_word_as_well_as_colour():
    answers = marks(to_html(full_card(), full_samples()), "article")
    told = {
        answer.get("class"): "".join(answer.find("header/span[2]").itertext()) for answer in answers
    }
    assert told["answer wrong"] == "\u2717 wrong" and told["answer abstained"] == "\u2013 abstained"
    assert len(told) == 5


def luminance(color):
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return sum(
        w * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4)
        for w, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )


@pytest.mark.parametrize(
    ("paper", "colors"),
    [(PAPER[0], (*LIGHT, *OUTCOMES_LIGHT.values())), (PAPER[1], (*DARK, *OUTCOMES_DARK.values()))],
    ids=["light", "dark"],
)
def test_colours_can_be_read_on_their_paper(paper, colors):
    for color in colors:
        dark, light = sorted((luminance(color), luminance(paper)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, color


def test_every_style_has_a_colour_and_a_shape_of_its_own():
    assert NUM_STYLES == len(set(LIGHT)) == len(set(DARK)) == len(set(SHAPES)) == len(SHAPES)


def test_published_scores_are_grey_points_beside_level_lines(card):
    number = {"value": 0.4, "low": 0.3, "high": 0.5, "n": 100}
    tasks = {"harness/gsm8k-cot": {"student": number}, "harness/our-own": {"student": number}}
    page = to_html({**card, "metrics": {**card["metrics"], **tasks}}, [])
    grey = [c.find("title").text for c in marks(page, "circle") if c.get("class") == "published"]
    assert len(grey) == len(
        scores_of("harness/gsm8k-cot")
    ) and "Qwen3-0.6B: 600M, 59.6 %" in " ".join(grey)
    assert [one.text for one in marks(page, "figcaption")].count("harness/gsm8k-cot") == 1
    assert len([one for one in marks(page, "line") if one.get("class") == "level"]) == 1
    assert not scores_of("harness/our-own") and not scores_of("gsm8k"), (
        "only tasks of the harness that the table names"
    )


def test_every_published_score_has_a_source_and_is_a_share():
    rows = [row for rows in published().values() for row in rows]
    assert len(rows) > 40 and all(
        0 < row.share < 1 and 1e8 < row.active <= row.total and row.source for row in rows
    )
