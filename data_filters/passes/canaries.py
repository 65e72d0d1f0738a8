"""Made-up facts, planted in copies of real traces: how many would the filter have found, in this
very text?

A canary is stated at the end of the thought of a trace that was kept; nobody gave it, so it must
come out ungrounded. Its twin is also told in the prompt and must not. Where the prompt has numbers, a
step that follows from two of them must not either. The copies are looked at and thrown away.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from data_filters.records.traces import Span, Trace
from recipes.vocabulary import Grounding

_FIRST = "Vel Dor Mar Tes Kal Bren Sor Lin Var Hel Jor Cas".split()
_LAST = "ano eth ila oran ubel esk imar ondo arin evar".split()
_FORMS = {
    "person": ("{who} was taught by {value}.", "The father of {who} is {value}."),
    "place": ("{who} lives in {value}.", "{who} was born in {value}."),
    "organisation": ("{who} works for {value} Works.", "{who} founded the {value} Institute."),
    "date": ("{who} was born on {day} May {year}.", "{who} died in {year}."),
    "quantity": ("{who} is {number} years old.", "The height of {who} is {number} metres."),
}
# steps from two numbers of the prompt, as people write them
_STEPS: tuple[tuple[str, Callable[[int, int], int]], ...] = (
    ("{a} + {b} = {c}.", lambda a, b: a + b),
    ("{a} plus {b} is {c}.", lambda a, b: a + b),
    ("{b} times {a} is {c}.", lambda a, b: a * b),
    ("So {a} multiplied by {b} gives {c}.", lambda a, b: a * b),
    ("The difference between {a} and {b} is {c}.", lambda a, b: abs(a - b)),
)
_NUMBER = re.compile(r"(?<![\w.,])\d{1,5}(?![\w%]|[.,/:-]\d)")
STEP = "worked step"
Find = Callable[[Trace], Sequence[Span]]


def plant(trace: Trace, find: Find) -> Counter[tuple[str, str]]:
    """(kind, what became of it) of one canary of each kind: found, missed; told (the twin, or the
    worked step, is left alone), overdone.
    """
    rng = random.Random(f"canary/{trace.id}")
    fates: Counter[tuple[str, str]] = Counter()
    for kind, forms in _FORMS.items():
        who, value = _name(rng), _name(rng)
        numbers = {
            "day": rng.randint(1, 28),
            "year": rng.randint(1400, 1990),
            "number": rng.randint(31, 97),
        }
        said = rng.choice(forms).format(who=who, value=value, **numbers)
        fates[kind, "found" if _flagged(_stated(trace, said), said, who, find) else "missed"] += 1
        fates[
            kind,
            "overdone" if _flagged(_told(_stated(trace, said), said), said, who, find) else "told",
        ] += 1
    said = _step(trace, rng)
    if said:
        overdone = _flagged(_stated(trace, said), said, "", find)
        fates[STEP, "overdone" if overdone else "told"] += 1
    return fates


def _step(trace: Trace, rng: random.Random) -> str:
    """A sentence that works something out from two numbers of the prompt; empty: it has no two."""
    numbers = list(dict.fromkeys(_NUMBER.findall(trace.prompt())))
    if len(numbers) < 2:
        return ""
    a, b = map(int, rng.sample(numbers, 2))
    form, result = rng.choice(_STEPS)
    return form.format(a=a, b=b, c=result(a, b))


def _name(rng: random.Random) -> str:
    return rng.choice(_FIRST) + rng.choice(_LAST)


def _stated(trace: Trace, said: str) -> Trace:
    """The trace with a sentence more in its last thought, or before its answer."""
    number = max(n for n, m in enumerate(trace.messages) if m["role"] == "assistant")
    text = trace.messages[number]["content"]
    thought, closed, answer = text.rpartition("</think>")
    longer = f"{thought.rstrip()} {said}{closed}{answer}" if closed else f"{said} {text}"
    return replace(
        trace,
        messages=[
            m | {"content": longer} if n == number else m for n, m in enumerate(trace.messages)
        ],
    )


def _told(trace: Trace, said: str) -> Trace:
    number = next(n for n, m in enumerate(trace.messages) if m["role"] == "user")
    return replace(
        trace,
        messages=[
            m | {"content": f"{said} {m['content']}"} if n == number else m
            for n, m in enumerate(trace.messages)
        ],
    )


def _flagged(trace: Trace, said: str, who: str, find: Find) -> bool:
    """Whether an ungrounded span lies in the planted sentence, elsewhere than on the one it is
    about.
    """
    number = max(n for n, m in enumerate(trace.messages) if m["role"] == "assistant")
    start = trace.messages[number]["content"].rindex(said)
    spans = [
        s
        for s in find(trace)
        if s.message == number and s.grounding == Grounding.UNGROUNDED and s.original != who
    ]
    return any(s.start < start + len(said) and start < s.end for s in spans)
