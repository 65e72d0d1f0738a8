"""Traces in other languages go, or stay whole; nothing is taken out of a half of them."""

import pytest

from data_filters.filters.examined import Examined
from data_filters.filters.languages import other_language
from data_filters.filters.settings import FilterContext, FilterSettings
from data_filters.records.traces import Trace
from recipes.errors import RecipeError
from recipes.schema.filter import Filter

GERMAN = "Tom hat nun drei Stifte und dazu noch zwei, also sind es f\u00fcnf. Der Ort ist Bonn."
CHINESE = "\u6cd5\u56fd\u7684\u9996\u90fd\u662f\u5df4\u9ece\u3002"
ENGLISH = "Tom has three pens and gets two more, so that makes five."


def trace(*turns: str) -> Trace:
    roles = ("user", "assistant") * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    return Trace(id="t", problem_id="p", source="s", seed=0, messages=messages)


def reason(one: Trace, **languages: str) -> str | None:
    config = Filter(languages=languages) if languages else Filter()
    return other_language(Examined(one), FilterContext(FilterSettings(config=config)))


@pytest.mark.parametrize(("answer", "code"), [(GERMAN, "de"), (CHINESE, "zh")])
def test_another_language_is_dropped_or_kept_as_the_recipe_says(answer: str, code: str) -> None:
    assert (
        reason(trace("And now?", answer)) == f"the assistant writes {code}, the detectors read en"
    )
    assert reason(trace("And now?", answer), other="keep") is None
    assert reason(trace("And now?", answer), **{code: "keep"}, other="drop") is None
    assert reason(trace("And now?", answer), other="keep", **{code: "drop"}) is not None


def test_english_formulas_and_an_english_answer_to_another_language_stay() -> None:
    assert reason(trace("How many?", ENGLISH)) is None
    assert reason(trace("How many?", r"$x^2 = 4$, so $x = \pm 2$")) is None
    assert reason(trace(GERMAN, ENGLISH)) is None


def test_a_number_in_answer_to_a_german_question_is_german() -> None:
    assert reason(trace("Wie viele Stifte hat Tom jetzt noch?", "5")) is not None
    assert reason(trace("How many pens does Tom have now?", "5")) is None


def test_one_turn_of_many_is_enough() -> None:
    assert reason(trace("How many?", ENGLISH, "And in German?", GERMAN)) is not None


@pytest.mark.parametrize("answer", [GERMAN, CHINESE, f"<think>\n{GERMAN}\n</think>\n\n5"])
def test_nothing_is_found_in_a_message_of_another_language(answer: str) -> None:
    scrubber = FilterContext(FilterSettings()).scrubber
    assert scrubber.spans(trace("Where does Tom live?", answer)) == []


def test_a_sentence_of_another_language_in_an_english_thought_is_one_span() -> None:
    scrubber = FilterContext(FilterSettings()).scrubber
    thought = f"{ENGLISH} I recall one thing. {CHINESE} {ENGLISH} {ENGLISH}"
    spans = scrubber.spans(trace("How many pens has Tom?", f"<think>{thought}</think>\n5"))
    found = [span.original for span in spans if span.detector == "foreign"]
    assert found == [CHINESE.rstrip("\u3002")]
    given = scrubber.spans(trace(f"Is this right? {CHINESE}", f"<think>{thought}</think>\n5"))
    assert [span for span in given if span.detector == "foreign"] == []


def test_a_language_that_is_no_code_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"filter.languages: no language 'German!'"):
        Filter(languages={"German!": "keep"})
    with pytest.raises(RecipeError, match=r"filter.languages.de: got 'mask'"):
        Filter(languages={"de": "mask"})  # type: ignore[dict-item]
