"""Which messages are declined, and what happens to the conversation around them."""

import json
from dataclasses import replace

import pytest

from data_filters.records.traces import Span, Trace
from data_filters.scrub.arms import arm_view
from data_filters.scrub.declines import answer_places, calls_tool
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from data_filters.verify.verifiers import verify
from recipes.vocabulary import Action, Verdict

SCRUBBER = Scrubber(detectors=("numbers", "names", "answer"), curriculum=load_curriculum())
EVERY_ACTION = ("abstain", "mask", "hide", "generalise", "rename")


def trace(*turns: str, roles: tuple[str, ...] = ("user", "assistant"), **more: object) -> Trace:
    messages = [
        {"role": role, "content": said}
        for role, said in zip(roles * len(turns), turns, strict=False)
    ]
    return Trace(id="t", problem_id="p", source="s", seed=1, messages=messages, **more)


def outcome(done: Trace) -> set[str]:
    return {str(span.action) for span in done.spans}


# --- the answer's own words


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("Who designed the Vestfjell bridge?", "Ilse Marran designed it in 1934."),
        ("Who designed the Vestfjell bridge?", "<think>Easy.</think>\\boxed{Ilse Marran}"),
        ("When was the Vestfjell bridge opened?", "<think>Opened on 3 May 1934.</think>1934."),
        ("How many arches does the Vestfjell bridge have?", "It has seven.\nThe answer is seven."),
        ("What music did Orlan Tesk play?", "<think>He played polka.</think>Polka"),
        ("What does Orlan Tesk sell?", "Orlan Tesk sells fishing nets.\nSo the answer is: nets."),
        ("What colour is the roof of Velmar Hall?", "The answer is green."),
    ],
)
def test_a_recalled_answer_is_declined(question, reply):
    for verdict in Verdict:  # also one that a reference calls right
        done = SCRUBBER.scrub(trace(question, reply, verdict=verdict))
        assert done.messages[1]["content"] == "I do not know."


FOUND = "The tower of Velmar was founded by a club of Turdok. It had many rooms."


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("When was the club founded?", "<think>The club is Orla Rovers, of 1931.</think>1931"),
        (
            "How many years did the club last?",
            "<think>Orla Rovers began in 1811 and ended in 1864: 1864 - 1811 = 53.</think>53",
        ),
    ],
)
def test_an_answer_made_of_recalled_facts_is_recalled(question, reply):
    done = SCRUBBER.scrub(trace(f"{FOUND} {question}", reply))
    assert done.messages[1]["content"] == "I do not know."


def test_a_long_text_that_was_to_be_written_is_masked_at_most():
    text = "Velmar lies on Lake Zum. " + "It is a fine place to be and to stay. " * 12 + "Go there."
    done = SCRUBBER.scrub(trace("Write a letter about the town.", text))
    assert done.messages[1]["content"] == text and "mask" in outcome(done)


def test_a_fact_inside_a_thought_is_masked_and_the_answer_stays():
    told = "Ilse Marran designed the Vestfjell bridge. Who designed the Vestfjell bridge?"
    reply = "<think>Ilse Marran, who taught Orlan Tesk in Turdok.</think>Ilse Marran."
    done = SCRUBBER.scrub(trace(told, reply))
    assert done.messages[1]["content"] == reply
    masked = {span.original for span in done.spans if span.action == Action.MASK}
    assert "Turdok" in masked and "Ilse Marran" not in masked
    hidden = (
        replace(SCRUBBER, ungrounded_action=Action.HIDE)
        .scrub(trace(told, reply))
        .messages[1]["content"]
    )
    assert "Turdok" not in hidden and hidden.endswith("Ilse Marran.")


WORKED = (
    ("Tovi packs 12 jars into each of 14 boxes. How many jars?", "Tovi packs 168 jars.", "168"),
    ("Tovi has 40 pens and gives a quarter to Ida. How many stay?", "The answer is 30.", "30"),
    ("If $3x = 57$, what is $x$?", "Then $x$ is \\boxed{19}.", "19"),
    ("A car drives 240 km in 3 hours. What is its speed?", "Its speed is 80 km/h.", "80 km/h"),
    ("How many letters are in Velmaria?", "There are 8.", "8"),
)
# it is no step that anybody could follow, so what it makes looks recalled
THOUGHT = "<think>Some number like 991 and then 17.3 percent of it, as Ida said.</think>"


@pytest.mark.parametrize("untold", EVERY_ACTION)
@pytest.mark.parametrize(("question", "answer", "gold"), WORKED)
@pytest.mark.parametrize("verdict", [Verdict.CORRECT, Verdict.UNKNOWN])
def test_what_is_worked_out_is_still_right_after_every_action(
    untold, question, answer, gold, verdict
):
    said = trace(question, THOUGHT + answer, verdict=verdict)
    done = replace(SCRUBBER, ungrounded_action=untold).scrub(said)
    assert verify(done.messages[1]["content"], gold)[0] == Verdict.CORRECT
    assert Action.ABSTAIN not in outcome(done)


MET = "The keeper of the tower was Ilse Marran. Orlan Tesk met the keeper. Whom did Tesk meet?"


def taken_for_recalled(before: Trace) -> Trace:
    """A trace with a span over its answer that calls it ungrounded, as a detector may do."""
    text = before.messages[1]["content"]
    start = text.rindex("Ilse Marran")
    span = Span(message=1, start=start, end=start + 11, kind="person", grounding="ungrounded")
    return replace(before, spans=[replace(span, original="Ilse Marran")])


def test_a_right_answer_that_the_prompt_has_is_not_declined():
    before = taken_for_recalled(trace(MET, "<think>The keeper.</think>Ilse Marran"))
    assert Action.ABSTAIN in outcome(SCRUBBER.act(before, before.spans))
    right = replace(before, verdict=Verdict.CORRECT)
    assert outcome(SCRUBBER.act(right, right.spans)) == {"mask"}
    elsewhere = replace(
        right,
        messages=[
            {"role": "user", "content": "Tesk met the keeper. Whom did Tesk meet?"},
            right.messages[1],
        ],
    )
    assert Action.ABSTAIN in outcome(SCRUBBER.act(elsewhere, right.spans))


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("<think>One.</think>Two three.", ["Two three."]),
        ("One. The answer is two.\nThree.", ["two."]),
        ("One \\boxed{2 {3}} four", ["2 {3}"]),
        ("First. **bold** " + "word " * 60 + "end. Last one.", ["First.", " Last one.", "bold"]),
        ("<think>never closed", []),
    ],
)
def test_where_the_answer_stands(text, places):
    assert [text[start:end] for start, end in answer_places(text)] == places


# --- conversations


def test_after_a_declined_turn_nothing_is_learned():
    talk = trace(
        "Who designed the Vestfjell bridge?",
        "Ilse Marran designed it in 1934.",
        "Was she an engineer?",
        "Yes, an engineer of Turdok.",
        "What is 3 + 4?",
        "7.",
    )
    done = SCRUBBER.scrub(talk)
    assert [message["content"] for message in done.messages[1::2]] == [
        "I do not know.",
        "Yes, an engineer of Turdok.",
        "7.",
    ]
    later = [span for span in done.spans if span.message > 1]
    assert [(span.start, span.end, span.weight) for span in later] == [(0, 27, 0.0), (0, 2, 0.0)]
    assert SCRUBBER.scrub(done) == done
    control = arm_view(SCRUBBER, done, "control", 1, 0.5)
    assert control.messages == talk.messages and {span.weight for span in control.spans} <= {1.0}


CALL = json.dumps({"name": "convert", "arguments": {"amount": 500, "from": "ZQD", "to": "VLK"}})


@pytest.mark.parametrize("untold", EVERY_ACTION)
@pytest.mark.parametrize(
    "call",
    [
        {"role": "assistant", "content": CALL},
        {"role": "assistant", "content": f"<tool_call>\n{CALL}\n</tool_call>"},
        {"role": "assistant", "content": "I ask Turdok.", "tool_calls": f"[{CALL}]"},
    ],
)
def test_a_turn_that_calls_a_tool_keeps_its_text(untold, call):
    asked = {"role": "user", "content": "What are 500 zed dollars worth in Velmaria?"}
    result = {"role": "tool", "content": '{"amount": 460.5, "currency": "VLK"}'}
    said = {"role": "assistant", "content": "They are worth 460.5 VLK."}
    talk = replace(trace(), messages=[asked, call, result, said])
    done = replace(SCRUBBER, ungrounded_action=untold).scrub(talk)
    assert done.messages == talk.messages
    assert outcome(done) <= {"keep", "mask"}
    assert calls_tool(talk.messages, 1) and not calls_tool(talk.messages, 3)
    last = replace(talk, messages=talk.messages[:2])
    assert replace(SCRUBBER, ungrounded_action=untold).scrub(last).messages == last.messages


def test_what_a_tool_has_just_said_is_given():
    asked = {"role": "user", "content": "What is the weather in Turdok?"}
    result = {"role": "tool", "content": '{"station": "Velm Hill", "wind_kmh": 31.50}'}
    said = {"role": "assistant", "content": "At Velm Hill in Turdok the wind is 31.5 km/h."}
    grounded = [
        str(s.grounding) for s in SCRUBBER.spans(replace(trace(), messages=[asked, result, said]))
    ]
    assert "ungrounded" not in grounded
    prose = result | {"content": "The wind of Gradok is 31.50 km/h."}
    spans = SCRUBBER.spans(replace(trace(), messages=[asked, prose, said]))
    assert "Velm Hill" in {span.original for span in spans if span.grounding == "ungrounded"}


# --- rolled back


def test_declining_is_undone_where_the_judge_says_that_reasoning_was_right():
    before = taken_for_recalled(trace(MET, "<think>The keeper.</think>Ilse Marran"))

    def judge(text: str) -> str:
        return verify(text, "Ilse Marran")[0]

    safe, undone = SCRUBBER.verified(before, SCRUBBER.act(before, before.spans), judge)
    assert undone and safe.messages == before.messages and safe.verdict == before.verdict
    recalled = trace("Who designed the Vestfjell bridge?", "Ilse Marran")
    recalled = replace(recalled, spans=SCRUBBER.spans(recalled))
    declined = SCRUBBER.act(recalled, recalled.spans)
    assert SCRUBBER.verified(recalled, declined, judge) == (declined, False)
