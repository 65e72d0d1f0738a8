"""Where a text may state a fact: numbers, names and short answers. Word lists and regular expressions, no model."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_filters.curriculum import Curriculum, load_curriculum
from data_filters.reading import Sentence, Token, read
from data_filters.told import Told, read_prompt

__all__ = ["SHORT_ANSWER_WORDS", "Curriculum", "Found", "find_facts", "load_curriculum"]

SHORT_ANSWER_WORDS = 4
_LABELS = frozenset("step case part line equation example option question problem item figure table row column page".split())
_COPULAS = frozenset("is was are were".split())


class Found(NamedTuple):
    """A character range that may state a fact."""

    start: int
    end: int
    kind: str  # number, quantity (with its unit), date, name, answer
    detector: str  # numbers, names, answer


def find_facts(text: str, detectors: Sequence[str], curriculum: Curriculum, prompt: str = "") -> list[Found]:
    """The spans of an assistant's text that may state a fact, in order and without overlap.

    The prompt decides how a run of capitalised words falls apart: in "Mara Oslo" after a prompt that names Mara, Mara and
    Oslo are two spans; two words that the prompt does not know stay one span.

    Args:
        text: reasoning and answer of one assistant message.
        detectors: any of "numbers", "names", "answer".
        curriculum: words that are never a fact.
        prompt: all that was given before the message.
    """
    sentences, told = read(text), read_prompt(prompt, curriculum)
    found: list[Found] = []
    if "numbers" in detectors:
        found += _numbers(sentences, curriculum)
    names = list(_names(sentences, told, curriculum)) if "names" in detectors or "answer" in detectors else []
    if "names" in detectors:
        found += names
    if "answer" in detectors and told.asked:
        found += _answers(sentences, curriculum, names)
    return _without_overlap(found)


def _without_overlap(found: list[Found]) -> list[Found]:
    kept: list[Found] = []
    for one in sorted(found):
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return kept


def _numbers(sentences: Sequence[Sentence], curriculum: Curriculum) -> Iterator[Found]:
    """Numbers with their unit, dates; no list marks ("12." at the start of a line) and no labels ("Step 12")."""
    for sentence in sentences:
        tokens = sentence.tokens
        if len(tokens) == 1 and tokens[0].kind == "number" and not sentence.final:
            continue  # a list mark: a lone number in the reasoning says nothing
        place = 0
        while place < len(tokens):
            token, start = tokens[place], place
            place += 1
            if token.kind != "number" and not _month(token, curriculum):
                continue
            while place < len(tokens) and place < start + 5 and _continues_date(tokens, start, place, curriculum):
                place += 1
            if place > start + 1:
                yield Found(token.start, tokens[place - 1].end, "date", "numbers")
            elif token.kind == "number" and not (start and tokens[start - 1].key in _LABELS):
                unit = place < len(tokens) and tokens[place].kind == "word" and tokens[place].key in curriculum.units
                yield Found(token.start, tokens[place].end if unit else token.end, "quantity" if unit else "number", "numbers")


def _month(token: Token, curriculum: Curriculum) -> bool:
    return token.kind == "word" and token.text[0].isupper() and token.key in curriculum.months


def _continues_date(tokens: Sequence[Token], start: int, place: int, curriculum: Curriculum) -> bool:
    """Whether the token at `place` belongs to a date such as 12 May 1957 or May 12, 1957 that begins at `start`."""
    token, before = tokens[place], tokens[place - 1]
    has_month = any(_month(t, curriculum) for t in tokens[start:place])
    if _month(token, curriculum):
        return not has_month and before.kind == "number"
    if token.text == ",":
        following = tokens[place + 1] if place + 1 < len(tokens) else None
        return has_month and before.kind == "number" and following is not None and following.kind == "number"
    return has_month and token.kind == "number"


def _names(sentences: Sequence[Sentence], told: Told, curriculum: Curriculum) -> Iterator[Found]:
    known = _evidence(sentences, told, curriculum)
    for sentence in (sentence for sentence in sentences if sentence.names):
        run: list[Token] = []
        words = sentence.words
        for place, token in enumerate(words):
            if not token.name or not _counts(token, words, place, known, told, curriculum):
                continue
            if run and token.start - run[-1].end != 1:
                yield from _pieces(run, told, curriculum)
                run = []
            run.append(token)
        if run:
            yield from _pieces(run, told, curriculum)


def _evidence(sentences: Sequence[Sentence], told: Told, curriculum: Curriculum) -> frozenset[str]:
    """Stems that are names beyond doubt: named in the prompt, capitalised inside a sentence, or an answer by themselves."""
    known = set(told.entities)
    answered = False
    for sentence in sentences:
        names = [token for token in sentence.names if not curriculum.knows(token.key)]
        known.update(token.key for token in names if not token.first)
        opens = sentence.final and bool(names) and names[0].first
        if opens and (_stands_alone(sentence, names, curriculum) or (not answered and _answers_first(sentence, told))):
            known.add(names[0].key)
        answered = answered or sentence.final
    return frozenset(known)


def _stands_alone(sentence: Sentence, names: list[Token], curriculum: Curriculum) -> bool:
    """ "Oslo.", "Answer: Oslo": no other word but ordinary ones."""
    words = sentence.words
    return len(words) <= SHORT_ANSWER_WORDS and all(token in names or curriculum.knows(token.key) for token in words)


def _answers_first(sentence: Sentence, told: Told) -> bool:
    """ "Paris is the capital of France.": the answer to a question about a named entity opens the final answer."""
    words = sentence.words
    plain = all(token.kind != "number" for token in sentence.tokens)
    return bool(told.asked) and plain and len(words) > 1 and words[1].text in _COPULAS


def _counts(token: Token, words: list[Token], place: int, known: frozenset[str], told: Told, curriculum: Curriculum) -> bool:
    """Whether a capitalised word is a name: one that opens a sentence needs evidence, or another name behind it.

    "Adding Mara's apples" is no name of two words: the second is told in the prompt and the first is not. A curriculum
    word counts inside a sentence only, as part of a name: "New York".
    """
    if curriculum.knows(token.key):
        return not token.first and token.key in curriculum.epithets and _name_follows(token, words, place, curriculum)
    if not token.first or token.key in known or (len(token.text) > 1 and token.text.isupper()):
        return True
    return token.key not in told.lowercase and _name_follows(token, words, place, curriculum) and words[place + 1].key not in told.words


def _name_follows(token: Token, words: list[Token], place: int, curriculum: Curriculum) -> bool:
    following = words[place + 1] if place + 1 < len(words) else None
    return following is not None and following.start - token.end == 1 and following.name and not curriculum.knows(following.key)


def _pieces(run: list[Token], told: Told, curriculum: Curriculum) -> Iterator[Found]:
    """The run cut into the longest phrases that stand in the prompt; words between them stay together."""
    if len(run) == 1:
        yield _name(run)
        return
    place, unknown = 0, -1
    while place < len(run):
        size = next((n for n in range(len(run) - place, 0, -1) if told.has_phrase(t.key for t in run[place : place + n])), 0)
        if size:
            if unknown >= 0 and not all(curriculum.knows(token.key) for token in run[unknown:place]):
                yield _name(run[unknown:place])
            yield _name(run[place : place + size])
            unknown = -1
        elif unknown < 0:
            unknown = place
        place += size or 1
    if unknown >= 0:
        yield _name(run[unknown:])


def _name(words: Sequence[Token]) -> Found:
    last = words[-1]
    possessive = last.text.endswith(("'s", "\u2019s"))
    return Found(words[0].start, last.end - 2 if possessive else last.end, "name", "names")


def _answers(sentences: Sequence[Sentence], curriculum: Curriculum, names: Sequence[Found]) -> Iterator[Found]:
    """Content words of a short final answer, wherever the text has them in lower case.

    A curriculum word ("red", "Tuesday") counts only if the text notes it about a name: the whole sentence is "Mara red."
    """
    final = [token for sentence in sentences if sentence.final for token in sentence.tokens]
    answer = [token for token in final if token.kind == "word"]
    if sum(token.kind in ("word", "number") for token in final) > SHORT_ANSWER_WORDS or not answer:
        return
    taken = {found.start for found in names}
    content = {token.key for token in answer if token.key not in curriculum.ordinary and token.start not in taken}
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
