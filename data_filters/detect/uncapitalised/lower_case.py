"""Names in a message that has no capitals at all: "it was giuseppe verdi"."""

from collections.abc import Iterator

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import Reading
from data_filters.text.tokens import Token
from recipes.vocabulary import Kind

_MIN_WORDS = 2
_MIN_LETTERS = 4
_NO_NAMES = tuple(  # endings of words that are made from others
    "ing ed ly tion tions sion sions ness able ible ize izes ise ises ism ment ments ity ities ous "
    "ful less ology ography ically".split()
)


def find_lower_case_names(reading: Reading) -> Iterator[CandidateSpan]:
    """Runs of words that are neither ordinary nor in the prompt, where nobody wrote a capital."""
    sentences = reading.sentences
    if any(sentence.names for sentence in sentences) or _num_words(reading) < _MIN_WORDS:
        return
    for sentence in sentences:
        run: list[Token] = []
        for token in sentence.words:
            if not _is_name(token, reading):
                continue
            if run and reading.text[run[-1].end : token.start] == " ":
                run.append(token)
                continue
            if run:
                yield _span(run)
            run = [token]
        if run:
            yield _span(run)


def _num_words(reading: Reading) -> int:
    return sum(len(sentence.words) for sentence in reading.sentences)


def _is_name(token: Token, reading: Reading) -> bool:
    """Also "paris", which is ordinary for nobody; not "bath", which is a town too."""
    plain = token.text.isalpha() and len(token.text) >= _MIN_LETTERS
    plain = plain and not token.text.endswith(_NO_NAMES)
    known = token.key in reading.prompt.words or reading.curriculum.knows(token.key)
    return plain and not known and not token.ordinary


def _span(run: list[Token]) -> CandidateSpan:
    return CandidateSpan(run[0].start, run[-1].end, Kind.NAME, "lower case")
