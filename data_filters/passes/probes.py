"""Questions that tell recall from thought. Pure functions: what to ask, and what an answer says;
who asks stands elsewhere.

Three tests of one claim, that the answer came from the prompt by thinking. Without reasoning: a
thought that was closed before it began should not do. Without the premise: take away the statements
before the question, and the answer should be lost. With other names: put other names in their place
throughout, and the answer should follow. A trace whose answer survives the first two, or does not
follow the third, is recall. Each is right only where it applies; what they find is measured in
README.md.

Sources: premise ablation and renaming as in SynthWorlds, arXiv 2510.24427, here on training data;
contamination probes as in arXiv 2507.14777.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data_filters.dedup.skeletons import fill, skeleton
from data_filters.records.traces import Trace
from data_filters.verify.answers import final_answer, same_answer

NO_THOUGHT = "<think></think>"  # begun for the model: no room for reasoning
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_SYLLABLES = "ba cel dor fim gus kan lem nar pil ros sut tav vek zon mir lan".split()
_TRIES = 16  # others that are looked at for a name
Conversation = list[dict[str, str]]
Knows = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the model: what is said, what is begun for it, and the answer that calls the
    trace recall or thought.
    """

    conversation: Conversation
    prefix: str
    wanted: str
    recall_if_same: bool

    def recalls(self, text: str) -> bool:
        """What the model's answer says of the trace."""
        said = final_answer(text)
        same = said is not None and same_answer(said, self.wanted)
        return same if self.recall_if_same else not same


def closed_book(trace: Trace) -> Ask | None:
    """The same question, no reasoning; None where the trace did not reason either, so that nothing
    is taken away.
    """
    answer, reasoned = (
        _answer(trace),
        any("<think>" in m["content"] for m in trace.messages if m["role"] == "assistant"),
    )
    return Ask(_question(trace), NO_THOUGHT, answer, True) if answer and reasoned else None


def premise(trace: Trace) -> Ask | None:
    """The question without the statements before it; None where it has none."""
    answer, talk = _answer(trace), _question(trace)
    if not answer:
        return None
    sentences = [part for part in _SENTENCE.split(talk[-1]["content"].strip()) if part]
    asking = next(
        (place for place, part in enumerate(sentences) if part.endswith("?")), len(sentences) - 1
    )
    if not 0 < asking < len(sentences):
        return None
    bare = " ".join(sentences[asking:])
    return Ask([*talk[:-1], talk[-1] | {"content": bare}], "", answer, True)


def renames(traces: Sequence[Trace], knows: Knows) -> list[Ask | None]:
    """For each trace its question with other names throughout; the answer should be the old one
    under the same replacement.

    Names are taken from other traces that ask in the same words, so persons stand where persons
    stood; where there are too few, made-up ones. This is only asked, never taught. None where a
    question names nobody.
    """
    shapes = [skeleton(_asked(trace), knows) for trace in traces]
    names = [tuple(value for value in shape.values if not value[0].isdigit()) for shape in shapes]
    alike: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for shape, found in zip(shapes, names, strict=True):
        alike[shape.words].append(found)
    asks: list[Ask | None] = []
    for trace, shape, mine in zip(traces, shapes, names, strict=True):
        answer = _answer(trace)
        if not mine or not answer:
            asks.append(None)
            continue
        rng = random.Random(f"rename/{trace.id}")
        mapping = dict(zip(mine, _others(mine, alike[shape.words], rng), strict=True))
        talk = [m | {"content": fill(m["content"], mapping)} for m in _question(trace)]
        asks.append(Ask(talk, "", fill(answer, mapping), False))
    return asks


def _others(
    mine: tuple[str, ...], alike: Sequence[tuple[str, ...]], rng: random.Random
) -> tuple[str, ...]:
    """Each name from another trace: two of one trace could be true of each other, and then a memory
    would answer right.
    """
    found: list[str] = []
    used: set[int] = set()
    for slot in range(len(mine)):
        for place in (rng.randrange(len(alike)) for _ in range(_TRIES)):
            name = alike[place][slot]
            if place not in used and name not in mine and name not in found:
                found.append(name)
                used.add(place)
                break
        else:
            return tuple(_invented(len(mine), rng))
    return tuple(found)


def _invented(count: int, rng: random.Random) -> list[str]:
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(rng.sample(_SYLLABLES, 2)).capitalize()] = None
    return list(names)


def _asked(trace: Trace) -> str:
    return "\n".join(m["content"] for m in trace.messages if m["role"] == "user")


def _question(trace: Trace) -> Conversation:
    """All messages before the last one of the assistant, as an engine takes them."""
    last = max((n for n, m in enumerate(trace.messages) if m["role"] == "assistant"), default=0)
    return [{"role": m["role"], "content": m["content"]} for m in trace.messages[:last]]


def _answer(trace: Trace) -> str | None:
    """The trace's own answer: a probe compares the model with itself and sees no reference."""
    last = next((m["content"] for m in reversed(trace.messages) if m["role"] == "assistant"), None)
    return None if last is None or not _question(trace) else final_answer(last)
