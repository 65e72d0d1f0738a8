"""Where a text may state a fact: numbers, dates, names, titles and short answers. Word lists and
regular expressions, no model.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile

from data_filters.detect.candidates import Found, without_overlap
from data_filters.detect.gazetteer import Gazetteer, find_terms, load_gazetteer
from data_filters.detect.names import SHORT_ANSWER_WORDS, find_names
from data_filters.detect.titles import find_titles
from data_filters.text.curriculum import Curriculum, load_curriculum
from data_filters.text.dates import find_dates
from data_filters.text.prompts import read_prompt
from data_filters.text.quantities import find_quantities
from data_filters.text.tokens import Sentence, Token, read

__all__ = ["SHORT_ANSWER_WORDS", "Curriculum", "Found", "find_facts", "load_curriculum"]

_LABELS = frozenset(
    "step case part line equation example option question problem item figure table row column page".split()
)


def find_facts(
    text: str,
    detectors: Sequence[str],
    curriculum: Curriculum,
    prompt: str = "",
    gazetteer: Gazetteer | None = None,
    more: Iterable[Found] = (),
) -> list[Found]:
    """The spans of an assistant's text that may state a fact, in order and without overlap.

    The prompt decides how a run of capitalised words falls apart: in "Mara Oslo" after a prompt
    that names Mara, Mara and Oslo are two spans; two words that the prompt does not know stay one
    span.

    Args:
        text: reasoning and answer of one assistant message.
        detectors: any of "numbers" (with dates), "names" (with titles), "answer".
        curriculum: words that are never a fact.
        prompt: all that was given before the message.
        gazetteer: known names; None: the places that ship with the room.
        more: what other detectors found, a model for instance; where they overlap with ours, their
            rest is kept.
    """
    sentences, told = read(text), read_prompt(prompt, curriculum)
    gazetteer = load_gazetteer() if gazetteer is None else gazetteer
    found = list(find_terms(sentences, gazetteer))
    names = (
        list(find_names(text, sentences, told, curriculum, gazetteer))
        if "names" in detectors or "answer" in detectors
        else []
    )
    if "names" in detectors:
        # "Island 4" is no number
        found += [
            *find_titles(text, curriculum),
            *(one for one in names if text[one.end - 1].isdigit()),
        ]
    if "numbers" in detectors:
        found += _numbers(text, sentences, curriculum)
    if "names" in detectors:
        found += names
    if "answer" in detectors and told.asked:
        found += _answers(sentences, curriculum, names)
    kept = without_overlap(found)
    others = list(_on_words(more, sentences, kept, curriculum))
    return without_overlap([*kept, *others]) if others else kept


def _on_words(
    more: Iterable[Found],
    sentences: Sequence[Sentence],
    kept: Sequence[Found],
    curriculum: Curriculum,
) -> Iterator[Found]:
    """Spans of others, widened to words and numbers; where ours cover a part, the words left over.
    Spans past the end of the text vanish."""
    found = list(more)
    if not found:
        return
    ours = {place for one in kept for place in range(one.start, one.end)}
    tokens = [
        token
        for sentence in sentences
        for token in sentence.tokens
        if token.kind in ("word", "number")
    ]
    ends = [token.end for token in tokens]
    for one in found:
        near = takewhile(
            lambda token, end=one.end: token.start < end,
            islice(tokens, bisect_right(ends, one.start), None),
        )
        rest = [token for token in near if ours.isdisjoint(range(token.start, token.end))]
        if any(not curriculum.knows(token.key) for token in rest):
            yield one._replace(start=rest[0].start, end=rest[-1].end)


def _numbers(text: str, sentences: Sequence[Sentence], curriculum: Curriculum) -> Iterator[Found]:
    """Dates, quantities, then plain numbers; no list marks ("12." at the start of a line) and no
    labels ("Step 12").
    """
    taken: set[int] = set()
    for date in find_dates(text):
        taken.update(range(date.start, date.end))
        yield Found(date.start, date.end, "date", "numbers", date=date)
    for quantity in find_quantities(text):
        if quantity.start not in taken:
            taken.update(range(quantity.start, quantity.end))
            kind = "quantity" if quantity.unit or quantity.spelled else "number"
            yield Found(
                quantity.start,
                quantity.end,
                kind,
                "numbers",
                value=quantity.value,
                unit=quantity.unit,
            )
    for sentence in sentences:
        if not sentence.numbers:
            continue
        tokens = sentence.tokens
        if len(tokens) == 1 and not sentence.final:
            continue  # a list mark: a lone number in the reasoning says nothing
        for place, token in enumerate(tokens):
            if token.kind != "number" or token.start in taken or token.end - 1 in taken:
                continue
            if not (place and tokens[place - 1].key in _LABELS):
                unit = (
                    place + 1 < len(tokens)
                    and tokens[place + 1].kind == "word"
                    and tokens[place + 1].key in curriculum.units
                )
                yield Found(
                    token.start,
                    tokens[place + 1].end if unit else token.end,
                    "quantity" if unit else "number",
                    "numbers",
                )


def _answers(
    sentences: Sequence[Sentence], curriculum: Curriculum, names: Sequence[Found]
) -> Iterator[Found]:
    """Content words of a short final answer, wherever the text has them in lower case.

    A curriculum word ("red", "Tuesday") counts only if the text notes it about a name: the whole
    sentence is "Mara red."
    """
    final = [token for sentence in sentences if sentence.final for token in sentence.tokens]
    answer = [token for token in final if token.kind == "word"]
    if sum(token.kind in ("word", "number") for token in final) > SHORT_ANSWER_WORDS or not answer:
        return
    taken = {found.start for found in names}
    content = {
        token.key
        for token in answer
        if token.key not in curriculum.ordinary and token.start not in taken
    }
    noted = {words[-1].key for words in map(_note, sentences) if words and words[0].start in taken}
    wanted = {key for key in content if key not in curriculum.common or key in noted}
    run: list[Token] = []
    for token in (token for sentence in sentences for token in sentence.words):
        if token.key not in wanted or token.start in taken:
            continue
        if run and token.start - run[-1].end != 1:
            yield Found(run[0].start, run[-1].end, "answer", "answer")
            run = []
        run.append(token)
    if run:
        yield Found(run[0].start, run[-1].end, "answer", "answer")


def _note(sentence: Sentence) -> list[Token]:
    """The words of a sentence that is nothing but a name and one word."""
    words = sentence.words
    return words if len(words) == 2 == len(sentence.tokens) and words[0].name else []
