"""Dates, quantities and plain numbers of a message."""

from collections.abc import Iterator

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import Reading
from data_filters.text.dates import find_dates
from data_filters.text.quantities import find_quantities
from data_filters.text.tokens import Sentence
from recipes.vocabulary import Kind

_LABELS = frozenset(  # stems of words whose number only counts
    "step case part line equation example option question problem item figure table row column "
    "page".split()
)


def find_numbers(reading: Reading) -> Iterator[CandidateSpan]:
    """Dates, quantities, then plain numbers; no list marks ("12." at the start of a line) and no
    labels ("Step 12").
    """
    text = reading.text
    taken: set[int] = set()
    in_code = reading.notation.covers
    for date in find_dates(text):
        taken.update(range(date.start, date.end))
        yield CandidateSpan(date.start, date.end, Kind.DATE, "numbers", date=date)
    for quantity in find_quantities(text):
        if quantity.start not in taken:
            taken.update(range(quantity.start, quantity.end))
            kind = Kind.QUANTITY if quantity.unit or quantity.spelled else Kind.NUMBER
            yield CandidateSpan(
                quantity.start,
                quantity.end,
                kind,
                "numbers",
                value=quantity.value,
                unit=quantity.unit,
            )
    counted = 0
    for sentence in reading.sentences:
        counted, place = _counted_line(sentence, counted)
        if place >= 0:
            taken.add(place)
        # a list mark: a lone number in the reasoning says nothing
        if sentence.numbers and (len(sentence.tokens) > 1 or sentence.final):
            for one in _plain_numbers(sentence, taken, reading.curriculum.units):
                if not in_code(one.start):
                    yield one


def _counted_line(sentence: Sentence, counted: int) -> tuple[int, int]:
    """(the number of the last line, where it stands or -1): "13: push" counts if a line 12 was the
    last; "1957: she died" does not.
    """
    tokens = sentence.tokens
    if len(tokens) < 2 or tokens[0].kind != Kind.NUMBER or tokens[1].kind != "colon":
        return counted, -1
    value = tokens[0].value
    if not isinstance(value, int) or value not in (1, counted + 1):
        return counted, -1
    return value, tokens[0].start


def _plain_numbers(
    sentence: Sentence, taken: set[int], units: frozenset[str]
) -> Iterator[CandidateSpan]:
    """Numbers outside dates and quantities, with the unit that follows them."""
    tokens, place = sentence.tokens, 0
    for token in sentence.numbers:
        place = tokens.index(token, place)
        if token.start in taken or token.end - 1 in taken:
            continue
        if place and tokens[place - 1].key in _LABELS:
            continue
        after = tokens[place + 1] if place + 1 < len(tokens) else None
        if after is not None and after.kind == Kind.WORD and after.key in units:
            yield CandidateSpan(token.start, after.end, Kind.QUANTITY, "numbers")
        else:
            yield CandidateSpan(token.start, token.end, Kind.NUMBER, "numbers")
