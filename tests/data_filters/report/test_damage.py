"""What scrubbing did to right traces, and the line that ends a stage."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data_filters.filters.settings import FilterSettings
from data_filters.records.traces import Span, Trace
from data_filters.report.damage import Damage, damage_fault
from data_filters.sift import sift
from data_filters.verify.verifiers import verify
from recipes.schema.filter import Filter

SUMS = (
    "A shelf has 24 books and 17 maps. How many things?",
    "<think>24 + 17 = 41</think>41.",
    "41",
)
RECALL = ("Who built Velmar Hall?", "<think>Orlan Tesk.</think>Orlan Tesk.", "Orlan Tesk")


def right(talk: tuple[str, str, str], number: int = 0) -> Trace:
    asked, said, _ = talk
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return Trace(
        id=f"t{number}", problem_id="p", source="x", seed=1, messages=messages, verdict="correct"
    )


def after(before: Trace, text: str, action: str) -> Trace:
    span = Span(message=1, start=0, end=len(text), kind="message", grounding="ungrounded")
    messages = [before.messages[0], {"role": "assistant", "content": text}]
    return replace(before, messages=messages, spans=[replace(span, action=action)])


def judging(gold: str, undone: bool = False) -> dict:
    return {"reference": gold, "judge": lambda text: verify(text, gold)[0], "undone": undone}


def counted(*cases: tuple[tuple[str, str, str], str, str]) -> dict:
    damage = Damage()
    for number, (talk, text, action) in enumerate(cases):
        before = right(talk, number)
        damage.add(before, after(before, text, action), **judging(talk[2]))
    return damage.report()


@pytest.mark.parametrize(
    ("talk", "text", "action", "name", "rate"),
    [
        (SUMS, "I do not know.", "abstain", "declined", 1.0),
        (RECALL, "I do not know.", "abstain", "recalled and taken out", 0.0),
        (SUMS, "<think>24 + 17 = 41</think>[number].", "hide", "no longer right", 1.0),
        (SUMS, "<think>[number]</think>41.", "hide", "edited", 0.0),
        (SUMS, SUMS[1], "mask", "masked", 0.0),
        (SUMS, SUMS[1], "keep", "right before", 0.0),
    ],
)
def test_each_change_has_its_count(talk, text, action, name, rate):
    found = counted((talk, text, action))
    assert found["right before"] == 1 and found[name] == 1 and found["rate"] == rate


def test_a_declined_answer_that_the_prompt_has_was_not_recalled():
    told = ("Orlan Tesk built Velmar Hall. Who built it?", *RECALL[1:])
    assert counted((told, "I do not know.", "abstain"))["declined"] == 1


def test_a_dropped_trace_is_changed_and_a_wrong_one_is_not_counted():
    damage, before = Damage(), right(SUMS)
    damage.add(before, before, **judging("41"), dropped=True)
    damage.add(replace(before, verdict="unknown"), before, **judging("41"))
    found = damage.report()
    assert (found["dropped"], found["changed"], found["right before"]) == (1, 1, 1)


def test_counts_of_units_merge_and_the_worst_come_first():
    many = Damage()
    for number in range(8):
        other, before = Damage(), right(SUMS, number)
        text, action = ("I do not know.", "abstain") if number > 4 else ("40.", "hide")
        other.add(before, after(before, text, action), **judging("41", undone=number == 0))
        many.merge(Damage.from_json(json.loads(json.dumps(other.to_json()))))
    found = many.report()
    assert (found["changed"], found["edits undone"], found["rate"]) == (8, 1, 1.0)
    assert [one["id"] for one in found["worst"]] == ["t5", "t6", "t7", "t0", "t1"]


def test_the_line_says_what_where_and_what_to_do():
    damage = counted((SUMS, "I do not know.", "abstain"), (SUMS, SUMS[1], "mask"))
    said = damage_fault(damage, 0.02, "out/report.html")
    assert said is not None and "\n" not in said
    assert said.startswith("out/report.html: 1 of 2 right traces (50.0%) were changed (1 declined)")
    assert "filter.max_damage_fraction is 0.02" in said and "filter.ungrounded_action" in said
    assert damage_fault(damage, 0.5, "out/report.html") is None


def test_the_filter_counts_its_own_damage(tmp_path: Path):
    told = (
        "Orlan Tesk built Velmar Hall. Who did?",
        "<think>Ida Vox of Turdok?</think>Orlan Tesk",
        "Orlan Tesk",
    )
    traces = [
        replace(right(talk, n), gold=talk[2], verdict="unknown", problem_id=str(n))
        for n, talk in enumerate((SUMS, RECALL, told))
    ]
    damage = sift(traces, tmp_path / "balanced", FilterSettings())["damage"]
    assert damage["right before"] == 3 and damage["recalled and taken out"] == 1
    assert (damage["masked"], damage["rate"], damage["worst"]) == (1, 0.0, [])
    strict = FilterSettings(config=Filter(mode="strict"))
    damage = sift(traces, tmp_path / "strict", strict)["damage"]
    assert damage["dropped"] == 1 and damage["worst"][0]["what"] == "dropped"
    assert "dropped" in (tmp_path / "strict" / "report.html").read_text()
