"""Short final answers in lower case: "miner", wherever the message says it."""

from collections.abc import Iterator

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.names.find import find_names
from data_filters.detect.names.words import SHORT_ANSWER_WORDS
from data_filters.detect.reading import Reading
from data_filters.text.tokens import Sentence, Token
from recipes.vocabulary import Kind


def find_answers(reading: Reading) -> Iterator[CandidateSpan]:
    """Content words of a short final answer, wherever the message has them in lower case, where
    something is asked about a named entity.

    A curriculum word ("red", "Tuesday") counts only if the message notes it about a name: the whole
    sentence is "Mara red."
    """
    final = [token for sentence in reading.sentences if sentence.final for token in sentence.tokens]
    answer = [token for token in final if token.kind == "word"]
    num_said = sum(token.kind in ("word", "number") for token in final)
    if not reading.prompt.asked or not answer or num_said > SHORT_ANSWER_WORDS:
        return
    names = {one.start for one in reading.found_by(find_names)}
    wanted = _wanted(reading, answer, names)
    run: list[Token] = []
    for token in (token for sentence in reading.sentences for token in sentence.words):
        if token.key not in wanted or token.start in names:
            continue
        if reading.notation.is_symbol(token.text, token.start):
            continue
        if run and token.start - run[-1].end != 1:
            yield CandidateSpan(run[0].start, run[-1].end, Kind.ANSWER, "answer")
            run = []
        run.append(token)
    if run:
        yield CandidateSpan(run[0].start, run[-1].end, Kind.ANSWER, "answer")


def _wanted(reading: Reading, answer: list[Token], names: set[int]) -> set[str]:
    """Stems of the answer that may be a fact.

    Args:
        names: where the names of the message start.
    """
    curriculum = reading.curriculum
    content = {
        token.key
        for token in answer
        if token.key not in curriculum.ordinary and token.start not in names
    }
    notes = map(_note, reading.sentences)
    noted = {words[-1].key for words in notes if words and words[0].start in names}
    return {key for key in content if key not in curriculum.common or key in noted}


def _note(sentence: Sentence) -> list[Token]:
    """The words of a sentence that is nothing but a name and one word."""
    words = sentence.words
    return words if len(words) == 2 == len(sentence.tokens) and words[0].name else []
