"""The answer of a question that only memory can answer is recalled, wherever its message has it.

"How many moons does Mars have?" asks about an entity of which nothing is said. So "two" is a recalled
fact there, although it is a small number; and "jazz" is one, although it has no capital.
"""

from collections.abc import Sequence

from data_filters.detect.reading import Reading
from data_filters.records.traces import Span
from data_filters.text.curriculum import Curriculum
from data_filters.text.prompts import PromptFacts
from data_filters.text.questions.knowledge import options, stands_alone
from data_filters.text.stem import stem
from data_filters.text.tokens import NUMBER_WORDS, Token, split_sentences
from data_filters.verify.answers import answer_range
from recipes.vocabulary import Grounding, Kind

_PROBLEM_WORDS = 60
_LONGEST_WORDS = 8  # of a short answer
_VERDICTS = frozenset(("yes", "no"))
_YEARS = range(1000, 2200)
_WHEN = frozenset(("when", "year", "date"))
_CONCLUSIONS = frozenset(map(stem, "yes no true false both neither none unknown".split()))


def recalled_spans(reading: Reading, spans: Sequence[Span], recall: bool) -> list[Span]:
    """Spans over the words of a short final answer that are recalled, wherever the message has them
    and no ungrounded span that is bound lies on them.

    Args:
        reading: a message.
        spans: of the message.
        recall: whether its question is one of recall; then every word counts that the prompt does
            not have, else those that an ungrounded span of the thought has, and a year that is
            asked for and not computed.
    """
    found = answer_range(reading.text)
    tokens = [token for sentence in reading.sentences for token in sentence.tokens]
    tokens = [token for token in tokens if token.kind in ("word", "number")]
    answer = [token for token in tokens if found and found[0] <= token.start < found[1]]
    if not reading.supported or not answer or len(answer) > _LONGEST_WORDS:
        return []
    wanted = {_key(token) for token in answer if _is_stated(token, reading.prompt)}
    verdict = len(answer) == 1 and answer[0].key in _VERDICTS
    if recall and verdict and reading.prompt.asked and stands_alone(reading.prompt):
        wanted = {answer[0].key}
        tokens = answer
    taken = [span for span in spans if span.grounding == Grounding.UNGROUNDED]
    if not recall:
        wanted &= _tainted(reading, spans, tokens)
    # a bare number would be no reason to decline; here it answers the question
    bound = [span for span in taken if span.bound]
    covered = {place for span in bound for place in range(span.start, span.end)}
    open_ones = [t for t in tokens if reading.origin(t.start, t.end)[0] not in covered]
    runs = _runs(reading.text, [token for token in open_ones if _key(token) in wanted])
    runs += _chosen(reading, answer, open_ones) if recall else []
    return [_span(reading, run) for run in runs]


def _tainted(reading: Reading, spans: Sequence[Span], tokens: Sequence[Token]) -> set[object]:
    """What the thought recalled or made of recalled numbers, and the year that is asked for, unless
    a shown step makes it.
    """
    taken = [span for span in spans if span.grounding == Grounding.UNGROUNDED]
    tainted = [span for span in taken if span.bound or span.kind == Kind.RESULT]
    results = [span for span in spans if span.kind == Kind.RESULT and span not in taken]
    known = {_key(token) for token in tokens if _lies_in(token, reading, tainted)}
    made = {_key(token) for token in tokens if _lies_in(token, reading, results)}
    years = {key for key in map(_key, tokens) if _is_year(key, reading)}
    return known | (years - made)


def _chosen(
    reading: Reading, answer: Sequence[Token], tokens: Sequence[Token]
) -> list[list[Token]]:
    """The chosen option, by its letter or its words, wherever the message has it: the prompt offers
    it, and the choice is recalled.
    """
    offered = options(reading.prompt)
    said = " ".join(token.text.lower() for token in answer)
    keys = [key for key, text in offered.items() if said in (key.lower(), text.lower().rstrip("."))]
    if len(keys) != 1:
        return []
    words = [
        token.key for sentence in split_sentences(offered[keys[0]]) for token in sentence.words
    ]
    runs = []
    for place in range(len(tokens) - len(words) + 1):
        run = tokens[place : place + len(words)]
        if words and [token.key for token in run] == words:
            runs.append(list(run))
    taken = {token.start for run in runs for token in run}
    letter = [token for token in answer if token.text == keys[0] and token.start not in taken]
    return [*runs, letter] if letter and letter[0] in tokens else runs


def _is_year(key: object, reading: Reading) -> bool:
    """Whether this is the year that is asked for: numbers of a prompt make any year by chance."""
    words = set(reading.prompt.question.text.lower().split())
    return isinstance(key, int) and key in _YEARS and not words.isdisjoint(_WHEN)


def _lies_in(token: Token, reading: Reading, spans: Sequence[Span]) -> bool:
    start, _ = reading.origin(token.start, token.end)
    return any(span.start <= start < span.end for span in spans)


def _is_stated(token: Token, prompt: PromptFacts) -> bool:
    """Whether an answer's word may be a fact; where nobody in particular is asked about, words and
    constants that everybody needs are none.
    """
    curriculum: Curriculum = prompt.curriculum
    if token.value is not None or token.key in NUMBER_WORDS:
        value = token.value if token.value is not None else NUMBER_WORDS[token.key]
        common = not curriculum.constants.get(value, frozenset()).isdisjoint(prompt.words)
        # few words with numbers are a problem, though it does not say all of whom it asks
        problem = bool(prompt.numbers) and len(prompt.lowered.split()) < _PROBLEM_WORDS
        return not (common or problem or _key(token) in prompt.numbers)
    if token.key in curriculum.common and (not prompt.asked or token.key in curriculum.units):
        return False
    function_word = token.key in curriculum.ordinary and token.key not in curriculum.common
    return not (function_word or token.key in prompt.words or token.key in _CONCLUSIONS)


def _key(token: Token) -> object:
    """The value of a number, in figures or words; the stem of a word."""
    return token.value if token.value is not None else NUMBER_WORDS.get(token.key, token.key)


def _runs(text: str, tokens: Sequence[Token]) -> list[list[Token]]:
    """Tokens that follow one another with a blank between."""
    runs: list[list[Token]] = []
    for token in tokens:
        if runs and text[runs[-1][-1].end : token.start] == " ":
            runs[-1].append(token)
        else:
            runs.append([token])
    return runs


def _span(reading: Reading, run: Sequence[Token]) -> Span:
    start, end = reading.origin(run[0].start, run[-1].end)
    number = len(run) == 1 and _key(run[0]) != run[0].key
    question = reading.prompt.question
    return Span(
        message=reading.message,
        start=start,
        end=end,
        kind=Kind.NUMBER if number else Kind.ANSWER,
        grounding=Grounding.UNGROUNDED,
        original=reading.original[start:end],
        subject=question.subject,
        relation=question.text,
        detector="question",
    )
