"""Questions with tools at hand, asked of speakers that go by a rule: each must land in its corner
of the scorecard.
"""

import re
from itertools import chain

import pytest

from data_filters.lookup.knowledge_base import first_of
from distill.engines.protocol import Completion
from distill.engines.tool_calls import call_text
from distill.problems.planted_world import World
from eval.ask.with_tools import answer_all_with_tools, ask_with_tools
from eval.scores.answers.read import read_answers
from eval.scores.answers.sheet import Sheet
from eval.scores.lookup_use import lookup_use
from eval.scores.measured import Bootstrap, measured
from eval.scores.outcomes import outcomes
from eval.suites.lookup_suites import WorldKey, long_sums, settings
from recipes.schema import Evaluate, Planted
from recipes.schema.evaluate import Tools

WORLD = World(Planted(people=24, teacher_only=8, strangers=8))
EVALUATE = Evaluate(items=24)
SETTINGS = list(settings(WORLD, EVALUATE))
GOLD = {q.prompt: q.gold for setting in SETTINGS for q in setting.questions}
TOLD = {
    q.prompt
    for setting in SETTINGS
    for q in setting.questions
    if q.suite not in ("multi_hop", "long_sums") and "recall" not in q.suite
}
DECLINES = "I do not know."


class Speaker:
    def __init__(self, rule):
        self.rule = rule

    def complete(self, conversations, sampling, *, tools=None, **_):
        said = [self.rule(conversation, bool(tools)) for conversation in conversations]
        return [
            Completion(text=text, prompt_tokens=9, completion_tokens=9, finish_reason="stop")
            for text in said
        ]


def ask(query):
    return call_text({"name": "lookup", "arguments": {"query": query}})


def honest(conversation, tools):
    """Looks up exactly what it was not told, believes the base, computes long sums, declines
    otherwise.
    """
    prompt = conversation[0]["content"]
    results = [m["content"].splitlines() for m in conversation if m["role"] == "tool"]
    if prompt in TOLD:
        return f"{GOLD[prompt]}."
    if not tools:
        return DECLINES
    if sum_ := re.fullmatch(r"What is (\d.*)\?", prompt):
        return (
            f"{results[0][0]}."
            if results
            else call_text({"name": "python", "arguments": {"code": sum_[1]}})
        )
    link = re.search(r"the friend of \w+", prompt)
    if link and not results:
        return ask(link[0])
    if link:
        said = next(
            (line for line in results[0] if line.lower().startswith(f"{link[0].lower()} is ")), None
        )
        if said is None:
            return DECLINES
        question = prompt.replace(link[0], said.split()[-1].rstrip("."))
    else:
        question = prompt
    if len(results) < 1 + bool(link):
        return ask(question)
    value = first_of(results[-1], question)
    return f"{value}." if value else DECLINES


def knows_by_heart(conversation, tools):
    return f"{GOLD[conversation[0]['content']]}."


def always_asks(conversation, tools):
    return (
        ask(conversation[0]["content"])
        if tools and conversation[-1]["role"] == "user"
        else DECLINES
    )


HOW = {
    "tools": Tools(),
    "contender": "student",
    "max_new_tokens": 16,
    "system": None,
    "at_once": 64,
    "progress": lambda *_: None,
}


def values(rule):
    """The value of each metric of a contender that answers by a rule."""
    table = read_answers(
        row for setting in SETTINGS for row in ask_with_tools(Speaker(rule), setting, **HOW)
    )
    sheet = Sheet.of(table, HOW["contender"])
    found = measured(chain(outcomes(sheet), lookup_use(sheet)), Bootstrap(200, 1))
    return {name: one["value"] for name, one in found.items()}


def test_who_asks_and_believes_the_base_scores_one_everywhere():
    found = values(honest)
    ones = (
        "kb_full.correct",
        "kb_deleted.abstained",
        "kb_off.abstained",
        "kb_swapped.followed",
        "youden_j",
        "given_with_tools.correct",
        "reasoning_with_tools.correct",
        "multi_hop",
        "multi_hop_deleted.abstained",
        "long_sums",
    )
    assert {name: found[name] for name in ones} == dict.fromkeys(ones, 1.0)
    assert (
        found["kb_off.correct"]
        == found["known_with_tools.searched"]
        == found["multi_hop_off.correct"]
        == found["long_sums_off.correct"]
        == 0
    )


def test_who_knows_by_heart_is_seen_when_the_base_is_off_or_changed():
    found = values(knows_by_heart)
    assert (
        found["kb_full.correct"] == found["kb_off.correct"] == 1
        and found["kb_swapped.followed"] == found["kb_deleted.abstained"] == 0
    )
    assert "unknown_with_tools.searched" not in found, "there is nothing that it does not know"


def test_answers_with_tools_go_on_where_they_stopped_and_tell_what_happened(tmp_path, monkeypatch):
    monkeypatch.setattr("eval.ask.with_tools.PART_QUESTIONS", 40)
    asked = []

    def breaks(conversation, tools):
        asked.append(1)
        if len(asked) == 200:
            raise KeyboardInterrupt
        return always_asks(conversation, tools)

    with pytest.raises(KeyboardInterrupt):
        answer_all_with_tools(Speaker(breaks), SETTINGS, tmp_path / "twice", **HOW)
    left = len(list((tmp_path / "twice").glob("part-*.parquet")))
    assert left > 0
    found = answer_all_with_tools(Speaker(always_asks), SETTINGS, tmp_path / "twice", **HOW)
    assert found == answer_all_with_tools(
        Speaker(always_asks), iter(SETTINGS), tmp_path / "once", **HOW
    )
    assert found["answers"] == sum(len(setting.questions) for setting in SETTINGS)
    assert (tmp_path / "once" / "answers.parquet").read_bytes() == (
        tmp_path / "twice" / "answers.parquet"
    ).read_bytes()
    assert [path.name for path in (tmp_path / "twice").iterdir()] == ["answers.parquet"]


def test_who_always_asks_has_no_judgement():
    found = values(always_asks)
    assert (
        found["unknown_with_tools.searched"] == found["known_with_tools.searched"] == 1
        and found["youden_j"] == 0
        and found["kb_full.correct"] == 0
    )


def test_bases_hold_what_their_names_say():
    key = WorldKey(WORLD, 1)
    (name, relation), true = next(iter(WORLD.facts.items()))
    whole, other = key.base(), key.swapped()
    assert len(whole) == 2 * len(WORLD.facts) + len(WORLD.names)
    assert all(
        other[fact] != value and other[fact] in WORLD.values[fact[1]]
        for fact, value in WORLD.facts.items()
    )
    halves = [set(key.base(without=half).passages) for half in (0, 1)]
    assert halves[0] | halves[1] == set(whole.passages) and not halves[0] & halves[1]
    assert any(
        text.endswith(f" {true}.") and name in text
        for text in whole.search(f"{name} {relation}", 20)
    )
    assert not set(key.base(other).passages) & {
        text for text in whole.passages if "friend" not in text
    }


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.base)
def test_every_question_can_be_answered_by_the_base_or_by_none(setting):
    assert len({q.id for q in setting.questions}) == len(setting.questions)
    for q in (q for q in setting.questions if "recall" in q.suite and setting.passages is not None):
        value = first_of(setting.passages.search(q.prompt, 3), q.prompt)
        assert (
            value
            == {"FULL": q.gold, "SWAPPED": setting.swapped.get(q.id), "DELETED": None}[setting.base]
        )


def test_long_sums_are_right():
    for q in long_sums(5, 20):
        first, *rest = q.prompt.removeprefix("What is ").rstrip("?").split()
        total = int(first) + sum(
            int(number) * (1 if sign == "+" else -1)
            for sign, number in zip(rest[::2], rest[1::2], strict=True)
        )
        assert str(total) == q.gold and q.difficulty == len(rest) // 2
