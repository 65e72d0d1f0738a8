"""Actions on ungrounded facts, and the views of other arms."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_filters.records.traces import Span, Trace
from data_filters.scrub.arms import arm_view, word_ranges
from data_filters.scrub.restore import restore
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from recipes.errors import RecipeError

SCRUBBER = Scrubber(detectors=("numbers", "names", "answer"), curriculum=load_curriculum())


def trace(*turns: str) -> Trace:
    roles = ("user", "assistant") * len(turns)
    messages = [{"role": role, "content": said} for role, said in zip(roles, turns, strict=False)]
    return Trace(id="t1", problem_id="p", source="s", seed=1, messages=messages)


CLOSED = trace("Where does Mara live?", "<think> Mara Oslo.</think> Oslo.")
TOLD = trace("The home of Mara is Oslo. Where does Mara live?", "<think> Mara Oslo.</think> Oslo.")


def test_abstain_puts_one_span_over_the_new_text_and_keeps_the_old_one() -> None:
    done = SCRUBBER.scrub(CLOSED)
    assert done.messages[1]["content"] == "I do not know."
    assert done.spans == [
        Span(
            message=1,
            start=0,
            end=14,
            kind="message",
            grounding="ungrounded",
            action="abstain",
            weight=1.0,
            detector="names",
            original="<think> Mara Oslo.</think> Oslo.",
            subject="Mara",
            relation="Where does Mara live?",
        )
    ]
    assert SCRUBBER.scrub(TOLD).messages == TOLD.messages


def test_mask_keeps_the_text_and_takes_the_weight_of_facts_only() -> None:
    done = replace(SCRUBBER, ungrounded_action="mask").scrub(CLOSED)
    assert done.messages == CLOSED.messages
    assert [(s.original, s.action, s.weight) for s in done.spans] == [
        ("Mara", "keep", 1.0),
        ("Oslo", "mask", 0.0),
        ("Oslo", "mask", 0.0),
    ]


def test_keep_and_drop_only_record() -> None:
    for untold in ("keep", "drop"):
        done = replace(SCRUBBER, ungrounded_action=untold).scrub(CLOSED)
        assert done.messages == CLOSED.messages and {s.action for s in done.spans} == {"keep"}


def test_only_the_turn_that_states_a_fact_is_replaced() -> None:
    told = ("The home of Ida is Rome. Where does Ida live?", "<think> Ida Rome.</think> Rome.")
    talk = trace(*told, "Where does Mara live?", "<think> Mara Oslo.</think> Oslo.")
    done = SCRUBBER.scrub(talk)
    assert [m["content"] for m in done.messages[1::2]] == [
        "<think> Ida Rome.</think> Rome.",
        "I do not know.",
    ]
    assert [(s.message, s.action) for s in done.spans] == [(1, "keep")] * 3 + [(3, "abstain")]


def test_results_of_earlier_turns_and_tool_output_are_given() -> None:
    talk = trace("What is 34 + 5?", "34 + 5 = 39.", "And 10 more?", "39 + 10 = 49.")
    assert {s.grounding for s in SCRUBBER.spans(talk)} == {"given", "derived"}
    looked_up = replace(
        CLOSED,
        messages=[
            CLOSED.messages[0],
            {"role": "tool", "content": "home of Mara: Oslo"},
            CLOSED.messages[1],
        ],
    )
    assert {s.grounding for s in SCRUBBER.spans(looked_up)} == {"given"}


@pytest.mark.parametrize("untold", ["abstain", "mask", "keep"])
@pytest.mark.parametrize("before", [CLOSED, TOLD])
def test_arms_differ_in_spans_only(untold: str, before: Trace) -> None:
    scrubber = replace(SCRUBBER, ungrounded_action=untold)
    kept = scrubber.scrub(before)
    assert arm_view(scrubber, kept, "student", 1, 0.5) == kept
    control = arm_view(scrubber, kept, "control", 1, 0.5)
    assert control.messages == before.messages and all(
        s.action == "keep" and s.weight == 1.0 for s in control.spans
    )
    masked = arm_view(scrubber, kept, "scrub_only", 1, 0.5)
    assert masked.messages == before.messages
    assert [s.original for s in masked.spans if s.action == "mask"] == (
        ["Oslo", "Oslo"] if before is CLOSED else []
    )
    assert all(s.weight == (0.0 if s.action == "mask" else 1.0) for s in masked.spans)


def test_random_mask_hides_the_asked_share_of_words_and_repeats_itself() -> None:
    text = trace("Q?", "<think> " + "one 2,000 + 3.5 = don't " * 400 + "</think> end.")
    view = arm_view(SCRUBBER, text, "random_mask", 7, 0.25)
    assert view == arm_view(SCRUBBER, text, "random_mask", 7, 0.25)
    assert view.spans != arm_view(SCRUBBER, text, "random_mask", 8, 0.25).spans
    assert view.spans != arm_view(SCRUBBER, replace(text, id="t2"), "random_mask", 7, 0.25).spans
    assert {s.original for s in view.spans} <= {"one", "2,000", "3.5", "don't", "end"}
    assert abs(len(view.spans) / 1601 - 0.25) < 0.05
    assert arm_view(SCRUBBER, text, "random_mask", 7, 0.0).spans == []
    with pytest.raises(RecipeError, match="got 'other'"):
        arm_view(SCRUBBER, text, "other", 1, 0.1)


def test_restoring_moves_spans_behind_a_shorter_text() -> None:
    edited = replace(
        trace("Q?", "In [x] Mara."),
        spans=[
            Span(
                message=1,
                start=3,
                end=6,
                kind="name",
                grounding="ungrounded",
                action="hide",
                original="Oslo",
            ),
            Span(message=1, start=7, end=11, kind="name", grounding="given", original="Mara"),
        ],
    )
    back = restore(edited)
    assert back.messages[1]["content"] == "In Oslo Mara."
    assert [(s.start, s.end) for s in back.spans] == [(8, 12)]


def test_words_leave_tags_and_operators_out() -> None:
    text = "<think> Mara 34. 34 + 5 = 39.</think> 39."
    assert [text[a:b] for a, b in word_ranges(text)] == ["Mara", "34", "34", "5", "39", "39"]


WORDS = st.sampled_from(
    "Mara Oslo Ida 34 5 1957 the home of is + = . ? lives <think> </think> I do not know red Monday".split()
)
TEXT = st.one_of(st.lists(WORDS, max_size=15).map(" ".join), st.text(max_size=60))


@given(st.lists(TEXT, min_size=2, max_size=6), st.sampled_from(["abstain", "mask", "keep"]))
@example(["", "\u00a50"], "abstain")
@example(["", "-\u00a55 or \u00a52020-01-02"], "mask")
@example(["Who paid?", "She paid \u00a5500, \u00a31, \u20ac2 and A$3."], "abstain")
def test_every_arm_restores_the_text_and_offsets_hold(turns: list[str], untold: str) -> None:
    before = trace(*turns)
    scrubber = replace(SCRUBBER, ungrounded_action=untold)
    kept = scrubber.scrub(before)
    for arm in ("control", "scrub_only", "random_mask"):
        assert arm_view(scrubber, kept, arm, 1, 0.3).messages == before.messages
    for view in (
        kept,
        *(
            arm_view(scrubber, kept, arm, 1, 0.3)
            for arm in ("control", "scrub_only", "random_mask")
        ),
    ):
        for span in view.spans:
            text = view.messages[span.message]["content"]
            assert view.messages[span.message][
                "role"
            ] == "assistant" and 0 <= span.start < span.end <= len(text)
            assert text[span.start : span.end] == (
                scrubber.abstain_text if span.action == "abstain" else span.original
            )


@pytest.mark.parametrize(
    "price", ["$ 5", "\u00a3 3.50", "\u00a5500", "-\u00a55", "US$ 7", "\u00a52020-01-02"]
)
def test_prices_are_grounded_however_their_sign_stands(price: str) -> None:
    told = SCRUBBER.spans(
        trace(f"The ticket costs {price}. What does it cost?", f"It costs {price}.")
    )
    untold = SCRUBBER.spans(trace("What does the ticket cost?", f"It costs {price}."))
    assert told and {span.grounding for span in told} == {"given"}
    assert untold and {span.grounding for span in untold} <= {"ungrounded", "common"}


# --- actions on single spans ---

RECALLED = trace(
    "Who founded it?",
    "<think>It was Ida Velmar of Turdok, on 12 May 1957. Velmar had 1,240 km of rail. See `Ida Velmar`.</think> Ida Velmar",
)
KINDS = ("person", "place", "date", "quantity")


def done_by(untold: str, **more: object) -> Trace:
    return replace(SCRUBBER, ungrounded_action=untold, **more).scrub(RECALLED)


def test_hiding_and_generalising_put_words_in_the_place_of_facts() -> None:
    hidden, general = (
        done_by("hide").messages[1]["content"],
        done_by("generalise").messages[1]["content"],
    )
    assert (
        hidden
        == "<think>It was [person] of [place], on [date]. [name] had [quantity] of rail. See `Ida Velmar`.</think> [person]"
    )
    assert (
        general
        == "<think>It was someone of some place, on a certain time. something had some km of rail. See `Ida Velmar`.</think> someone"
    )


def test_a_name_is_renamed_alike_throughout_a_record_and_otherwise_in_another_variant() -> None:
    first, other = done_by("rename"), done_by("rename", variant=1)
    text = first.messages[1]["content"]
    ida, velmar = text.rpartition("> ")[2].split()
    assert (
        f"It was {ida} {velmar} of " in text
        and f"{velmar} had 1,240 km" in text
        and "12 May 1957" in text
        and "`Ida Velmar`" in text
    )
    assert {
        span.original: span.action for span in first.spans if span.kind in ("date", "quantity")
    } == {
        "12 May 1957": "mask",
        "1,240 km": "mask",
    }
    assert other.messages != first.messages and done_by("rename") == first
    assert done_by("rename", seed=5).messages != first.messages


def test_kinds_have_actions_of_their_own() -> None:
    mixed = done_by("mask", by_kind={"date": "generalise", "place": "hide", "person": "keep"})
    assert mixed.messages[1]["content"].startswith(
        "<think>It was Ida Velmar of [place], on a certain time. Velmar had 1,240 km"
    )
    assert {span.kind: span.action for span in mixed.spans if span.kind in KINDS} == {
        "person": "keep",
        "place": "hide",
        "date": "generalise",
        "quantity": "mask",
    }
    dropping = replace(SCRUBBER, ungrounded_action="keep", by_kind={"date": "drop"})
    fact = dropping.drops(dropping.spans(RECALLED))
    assert (
        fact is not None
        and fact.original == "12 May 1957"
        and SCRUBBER.drops(SCRUBBER.spans(RECALLED)) is None
    )


@pytest.mark.parametrize("untold", ["abstain", "mask", "hide", "rename", "generalise", "keep"])
def test_scrubbing_twice_changes_nothing(untold: str) -> None:
    once = done_by(untold)
    assert replace(SCRUBBER, ungrounded_action=untold).scrub(once) == once
    assert restore(once).messages == RECALLED.messages


def test_an_edit_that_breaks_the_answer_is_undone() -> None:
    hiding = replace(SCRUBBER, ungrounded_action="hide")
    spans = hiding.spans(RECALLED)
    after = hiding.act(RECALLED, spans)
    safe, undone = hiding.verified(
        replace(RECALLED, spans=spans),
        after,
        lambda text: "correct" if text.endswith("Ida Velmar") else "wrong",
    )
    assert (
        undone
        and safe.messages == RECALLED.messages
        and {s.action for s in safe.spans if s.grounding == "ungrounded"} == {"mask"}
    )
    assert hiding.verified(RECALLED, after, lambda text: "correct") == (after, False)
    assert hiding.verified(RECALLED, after, lambda text: "wrong") == (after, False)


def test_a_span_past_the_end_is_left_out() -> None:
    beyond = Span(
        message=1, start=90_000, end=90_004, kind="place", grounding="ungrounded", original="Oslo"
    )
    assert (
        replace(SCRUBBER, ungrounded_action="hide").act(CLOSED, [beyond]).messages
        == CLOSED.messages
    )


def test_a_common_name_may_stay() -> None:
    pytest.importorskip("wordfreq")
    text = trace("Where to?", "<think>I went to Paris and Turdok.</think> Done.")
    kept = replace(SCRUBBER, ungrounded_action="mask", keep_commonness=4.0).scrub(text)
    assert {span.original: span.grounding for span in kept.spans} == {
        "Paris": "common",
        "Turdok": "ungrounded",
    }


FACTS = st.sampled_from(
    "Ida Velmar|Turdok|on 12 May 1957|1,240 km|He met|it is|Lake Zum|, |. |`code Ida`|\n|$x$|the University of Bir|(1957)".split(
        "|"
    )
)


@given(
    st.lists(FACTS, max_size=12).map(" ".join),
    st.sampled_from(["hide", "rename", "generalise", "mask"]),
)
def test_every_edit_restores_the_text_and_offsets_hold(text: str, untold: str) -> None:
    before = trace("Go on.", text)
    scrubber = replace(SCRUBBER, ungrounded_action=untold)
    after = scrubber.scrub(before)
    assert restore(after).messages == before.messages and scrubber.scrub(after) == after
    content = after.messages[1]["content"]
    for span in after.spans:
        assert 0 <= span.start < span.end <= len(content)
        assert (
            span.action in ("hide", "rename", "generalise")
            or content[span.start : span.end] == span.original
        )
