"""Facts below capitals: names in lower case, glued names, scores of games."""

import pytest

from data_filters.records.traces import Trace
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from recipes.vocabulary import Action, Grounding

SCRUBBER = Scrubber(
    detectors=("numbers", "names", "answer"),
    curriculum=load_curriculum(),
    ungrounded_action=Action.MASK,
)


def ungrounded(prompt: str, text: str) -> list[str]:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    trace = Trace(id="t", problem_id="t", source="s", seed=0, messages=messages)
    spans = SCRUBBER.spans(trace)
    return [span.original for span in spans if span.grounding == Grounding.UNGROUNDED]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("i think it was clara schumann who played there", ["clara schumann"]),
        ("we flew to tbilisi and then took a bus to batumi", ["tbilisi", "batumi"]),
        ("first add the two sides, then halve the sum", []),
        ("the train keeps decelerating, so recompute the timings carefully", []),
        ("It was clara schumann.", []),  # whoever writes capitals writes them for names
    ],
)
def test_names_where_nobody_wrote_a_capital(text: str, found: list[str]) -> None:
    assert ungrounded("what happened next?", text) == found


def test_a_name_in_lower_case_that_the_prompt_has_stays() -> None:
    assert ungrounded("Clara Schumann played. who played?", "it was clara schumann") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Write to clara.wieck@brockhaus.example for it.", ["clara.wieck", "brockhaus"]),
        ("Then @clarawieck answered.", ["clarawieck"]),
        ("Posted under #VisitTbilisi today.", ["VisitTbilisi"]),
        ("It is stored in the tbilisi-backup folder.", ["tbilisi"]),
        ("It is stored in the daily-backup folder.", []),
        ("Use `daily-backup` or max_line_count here.", []),
        ("Add the @property decorator and a #comment.", []),
        ("Mail to support@example.com for help.", []),
    ],
)
def test_names_that_are_glued_to_signs(text: str, found: list[str]) -> None:
    assert ungrounded("Tell me more.", text) == found


def test_the_time_of_a_log_line_is_no_fact() -> None:
    assert ungrounded("Show a log line.", "2019-03-07 WARN retrying the upload") == []
    assert ungrounded("When was it?", "It was on 2019-03-07.") == ["2019-03-07"]


@pytest.mark.parametrize(
    ("prompt", "text", "found"),
    [
        ("Report the match.", "The guests won 4-2.", ["4-2"]),
        ("Report the match.", "It ended 4:2, and the keeper scored once.", ["4:2", "once"]),
        ("The guests won 4-2. Report it.", "The guests won 4-2.", []),
        ("What is 4 - 2?", "4-2 = 2, so you win.", []),
        ("Which pages?", "Read pages 4-9.", []),
    ],
)
def test_the_score_of_a_game(prompt: str, text: str, found: list[str]) -> None:
    assert ungrounded(prompt, text) == found


@pytest.mark.parametrize(
    ("prompt", "text", "found"),
    [
        ("Do ships call at the South Tower?", "They call at the North Tower.", 1),
        ("They send letters to the South Tower. Where to?", "To the North Tower.", 1),
        ("Unscramble the letters of 'orhtn'.", "North.", 0),
        ("How many letters has the word 'NORTH'?", "NORTH has 5 letters.", 0),
    ],
)
def test_a_letter_in_the_post_is_no_letter_of_a_word(prompt: str, text: str, found: int) -> None:
    assert len(ungrounded(prompt, text)) == found
