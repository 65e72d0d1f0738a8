"""Which messages are declined: those whose final answer is recalled.

In "<think>Ilse Marran was born in 1902.</think> Mara Vell." to "Who designed it?" the answer's own
words are recalled, so the message becomes "I do not know.". A fact inside a thought is masked, and the
answer stays.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from data_filters.records.traces import Span, Trace
from data_filters.scrub.questions import Asked, Questions
from data_filters.text.curriculum import Curriculum
from data_filters.verify.answers import after_thought, answer_range
from recipes.vocabulary import Action, Kind, Role, Verdict

NUMBERS = frozenset((Kind.NUMBER, Kind.QUANTITY, Kind.RESULT, Kind.DATE))
_SHORT_WORDS = 60  # an answer without a marker is read whole up to here
_SENTENCE_END = re.compile(r"[.!?](?=[\s*\"')]|$)|\n+")
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_CALL = re.compile(r"\s*(?:<tool_call>|\[?\s*\{)")


def declined_messages(
    trace: Trace,
    facts: Iterable[Span],
    action_of: Callable[[Span], Action],
    curriculum: Curriculum,
) -> dict[int, Span]:
    """The first message whose answer is recalled, with the fact that says so; later ones have no say,
    since what they build on is gone.

    Args:
        trace: with its verdict, where somebody judged it.
        facts: its ungrounded spans, in order.
        action_of: what the recipe does with each; only those that abstain can decline.
        curriculum: words that name no entity.
    """
    by_message: defaultdict[int, list[Span]] = defaultdict(list)
    for fact in facts:
        if fact.bound and action_of(fact) == Action.ABSTAIN:
            by_message[fact.message].append(fact)
    questions = Questions(trace.messages, trace.source, curriculum)
    last = max(
        (n for n, message in enumerate(trace.messages) if message["role"] == Role.ASSISTANT),
        default=-1,
    )
    for number, found in sorted(by_message.items()):
        text = trace.messages[number]["content"]
        stated = _in_answer(text, found)
        if not stated or calls_tool(trace.messages, number):
            continue
        right = number == last and trace.verdict == Verdict.CORRECT
        asked = questions.before(number)
        if not asked.asks and len(answer_places(text)) > 1:
            continue  # something was to be written, and that is long
        recalled = [one for one in stated if _recalled(one, asked, questions, right)]
        if recalled:
            return {number: recalled[0]}
    return {}


def _recalled(fact: Span, asked: Asked, questions: Questions, right: bool) -> bool:
    """Whether a fact in an answer was recalled: not where the question gives what the answer is made
    of; nor where the answer was judged right and the prompt has its words, or may have been counted
    with.
    """
    if asked.worked and (asked.numeric or fact.kind in NUMBERS):
        return False
    if not right or asked.unknown:
        return True
    return fact.kind not in NUMBERS and not questions.gives(fact.original)


def worked_answers(
    trace: Trace, facts: Iterable[Span], curriculum: Curriculum
) -> dict[int, list[tuple[int, int]]]:
    """The messages that answer what is worked out, with the places of their answers.

    Args:
        trace: a conversation.
        facts: ungrounded spans; only messages that have one are looked at.
        curriculum: words that name no entity.
    """
    questions = Questions(trace.messages, trace.source, curriculum)
    numbers = sorted({fact.message for fact in facts})
    worked = [number for number in numbers if questions.before(number).worked]
    return {number: answer_places(trace.messages[number]["content"]) for number in worked}


def _in_answer(text: str, facts: Sequence[Span]) -> list[Span]:
    places = answer_places(text)
    return [
        one for one in facts if any(one.start < end and start < one.end for start, end in places)
    ]


def answer_places(text: str) -> list[tuple[int, int]]:
    """Where a message gives its answer: behind a marker or in a box; else all that follows the
    thought, or of a long reply its first and last sentence and what is bold.

    Returns:
        ranges of characters; none where a thought was never closed.
    """
    found = answer_range(text)
    if found is None:
        return []
    tail = after_thought(text) or ""
    start, end = found
    if end - start < len(tail.strip()) or len(tail.split()) <= _SHORT_WORDS:
        return [found]
    stops = [match.end() for match in _SENTENCE_END.finditer(text, start, end)]
    stops = [stop for stop in stops if text[start:stop].strip() and text[stop:end].strip()]
    bold = [match.span(1) for match in _BOLD.finditer(text, start, end)]
    return [(start, stops[0]), (stops[-1], end), *bold] if stops else [found]


def calls_tool(messages: Sequence[Mapping[str, str]], number: int) -> bool:
    """Whether a message calls a tool: by a field of its own, or as JSON text with a name and
    arguments; what a tool answers was called for in any case.
    """
    message = messages[number]
    if message.get("tool_calls"):
        return True
    if number + 1 < len(messages) and messages[number + 1]["role"] == Role.TOOL:
        return True
    text = after_thought(message["content"]) or ""
    return _CALL.match(text) is not None and _names_call(text)


def _names_call(text: str) -> bool:
    try:
        said = json.loads(text.strip().removeprefix("<tool_call>").removesuffix("</tool_call>"))
    except (ValueError, RecursionError):
        return "<tool_call>" in text
    calls = said if isinstance(said, list) else [said]
    return any(isinstance(call, dict) and {"name", "arguments"} <= call.keys() for call in calls)
