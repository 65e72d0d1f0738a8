"""What is found in a text: dates, quantities, names, titles, terms of the user's; by hand, and on
anything.
"""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.detect import detect
from data_filters.detect.entity_kinds import kind_of
from data_filters.detect.gazetteer import Gazetteer, load_gazetteer
from data_filters.detect.ner import MODEL, files_digest, spacy_detector
from data_filters.detect.reading import Detector, read_ahead, read_message
from data_filters.ground.own_symbols import Letters, PromptLetters, symbols
from data_filters.text.curriculum import load_curriculum
from data_filters.text.dates import find_dates
from data_filters.text.prompts import PromptFacts
from data_filters.text.quantities import find_quantities
from recipes.errors import RecipeError, ShardError

CURRICULUM = load_curriculum()
DETECTORS = ("numbers", "names", "answer")


def said(
    text: str,
    prompt: str = "Go on.",
    gazetteer: Gazetteer | None = None,
    more: Sequence[Detector] = (),
) -> list[str]:
    reading = read_message(text, prompt, CURRICULUM, gazetteer)
    return [text[one.start : one.end] for one in detect(reading, DETECTORS, more)]


DATES = [
    ("on 12 May 1957", "12 May 1957"),
    ("on May 12th, 1957", "May 12th, 1957"),
    ("the 3rd of June 1200", "the 3rd of June 1200"),
    ("in March, 1311", "March, 1311"),
    ("in the 1950s", "the 1950s"),
    ("in late 1934", "late 1934"),
    ("2001-04-05", "2001-04-05"),
    ("12/05/1999", "12/05/1999"),
    ("44 BC", "44 BC"),
    ("in the fourteenth century", "the fourteenth century"),
    ("in 1957,", "1957"),
    ("5 Jan. 1990", "5 Jan. 1990"),
    ("late nineteenth-century art", "late nineteenth-century"),
    ("in the twenty-first century", "the twenty-first century"),
]


@pytest.mark.parametrize(("text", "date"), DATES)
def test_dates(text: str, date: str) -> None:
    assert [text[one.start : one.end] for one in find_dates(text)] == [date]


def test_no_dates_in_arithmetic() -> None:
    assert list(find_dates("2000 - 1957 = 43, in 1200 m, 3/4/5 and 10.5")) == []


def test_a_century_covers_its_years() -> None:
    assert [one.span for one in find_dates("the 19th century, the twenty-first century")] == [
        range(1800, 1901),
        range(2000, 2101),
    ]


QUANTITIES = [
    ("1,240 km", 1240, "km"),
    ("3.2 million", 3_200_000, ""),
    ("$3.5 billion", 3_500_000_000, "$"),
    ("42%", 42, "%"),
    ("15 per cent", 15, "per cent"),
    ("twenty-five kilometres", 25, "kilometres"),
    ("five hundred and forty-eight", 548, ""),
    ("a hundred", 100, ""),
    ("12 km/h", 12, "km/h"),
    ("two hundred and forty-eight thousand", 248_000, ""),
]


@pytest.mark.parametrize(("text", "value", "unit"), QUANTITIES)
def test_quantities(text: str, value: int, unit: str) -> None:
    assert [(q.value, q.unit) for q in find_quantities(f"It is {text} there.")] == [(value, unit)]


NAMES = [
    ("It was J. R. Smith.", ["J. R. Smith"]),
    ("He met Ida van der Berg there.", ["Ida van der Berg"]),
    ("She joined Brenner & Sons.", ["Brenner & Sons"]),
    ("They saw Lake Turok and Dr. Peranda.", ["Lake Turok", "Dr. Peranda"]),
    ("James Brown sang.", ["James Brown"]),
    ("Boboss said so.", ["Boboss"]),
    ("Ida Wells of Turdok spoke.", ["Ida Wells", "Turdok"]),
    ("He left the University of Turdok.", ["University of Turdok"]),
    ('He wrote "The silent harbour" then.', ["The silent harbour"]),
    ("He wrote *Winter Roses* then.", ["Winter Roses"]),
    ("The film The Letter was long.", ["The Letter"]),
    ("Final Answer: Therefore, we rotate it. Rotating helps.", []),
    ("Here the Initial Velocity is small.", []),
    ("The Running Time is O(n).", []),
    ("Thus Full Tank = 60.", ["60"]),
    ("He read Broken Letters there.", ["Broken Letters"]),
    ("You take the Corner, then another corner.", []),
    ("They took the Corner.", ["Corner"]),
    ("Here we have a Jump Discontinuity, and this Agreement holds.", []),
    ("He read Roses Without a River.", ["Roses Without", "River"]),
    ("It is dated [Date] by [Your Name].", []),
    ("See [Broken Letters](there).", ["Broken Letters"]),
    ("### Members\nWe count them. A key points to Members here.", []),
    ("**Broken Letters**\n\nThey stand for counts.", []),
    ("Does it help? Perhaps. Hardly. Rain causes both.", []),
    ("It is NOT IN SERVICE now.", []),
    ('He said "Deposit must be positive" then.', []),
    ("I'd go. Dear Sir or Madam,", []),
]


@pytest.mark.parametrize(("text", "names"), NAMES)
def test_names_and_titles(text: str, names: list[str]) -> None:
    assert said(text) == names


def test_kinds_are_told_by_their_words() -> None:
    gazetteer = load_gazetteer()
    cases = {
        "Lisbon": "place",
        "Kestrel Industries": "organisation",
        "Lake Turok": "place",
        "Dr. Peranda": "person",
        "The Letter": "title",
    }
    assert {name: kind_of(name, 0, len(name), gazetteer) for name in cases} == cases


def test_symbols_that_a_text_introduces() -> None:
    assert {"N", "PQ", "SUM"} <= symbols("Let N be the count. Take points A and PQ. SUM = 5.")
    assert said("Let N be even. Consider triangle PQR.", "Solve it.") == ["PQR"]


def test_names_in_code_are_symbols_but_its_words_are_not() -> None:
    code = "```python\nclass StackEmptyError(Exception):\n  home = France  # Turdok\n  raise ValueError('Boboss')\n```\nIt is `NULL`."
    assert {"StackEmptyError", "ValueError", "Exception", "NULL"} <= symbols(code)
    assert symbols(code).isdisjoint(("France", "Turdok", "Boboss"))
    assert symbols("```\nclass StackError") == {"StackError"}  # cut off


def test_letters_make_words_only_where_asked() -> None:
    def letters(*messages: str) -> Letters:
        given, prompt = PromptLetters(), PromptFacts(CURRICULUM)
        for message in messages:
            prompt.extend(message)
            given.catch_up(prompt)
        return Letters(given, "")

    puzzle = letters("Unscramble the word tca. Use cold.")
    assert puzzle.make("cat") and puzzle.make("cord") and not puzzle.make("dog")
    assert not letters("I saw a tca.").make("cat")
    assert letters("I saw a tca.", "Now unscramble it.").make("cat")  # asked later
    assert letters("Move from A1 to B3.").make("C2")


# --- lists of the user's ---


def test_terms_are_found_in_any_case_and_bad_rows_are_told(tmp_path) -> None:
    file = tmp_path / "terms.tsv"
    file.write_bytes(
        b"aspirin\nMara\thome\tOslo\nx\nfoo\tplanet\nMount Doom\tplace\n\xff\xfe\nbad\x01row\na\tb\tc\td\n"
    )
    gazetteer = load_gazetteer((str(file),))
    assert said("He took aspirin at mount doom.", gazetteer=gazetteer) == ["aspirin", "mount doom"]
    reasons = [fault.rsplit(": ", 1)[-1][:12] for fault in gazetteer.faults]
    assert [fault.split(":")[1] for fault in gazetteer.faults] == [
        "3",
        "4",
        "6",
        "7",
        "8",
    ] and "not UTF-8" in reasons[2]
    with pytest.raises(ShardError, match=r"absent\.tsv: the gazetteer cannot be read"):
        load_gazetteer((str(tmp_path / "absent.tsv"),))
    (tmp_path / "empty.tsv").write_text("#\n")
    with pytest.raises(ShardError, match="no row can be used"):
        load_gazetteer((str(tmp_path / "empty.tsv"),))


def test_accents_do_not_matter() -> None:
    assert load_gazetteer().kind(("Z\u00fcrich",)) == "place"


# --- other detectors ---


def test_spans_of_others_are_widened_to_words_and_cut_at_the_end() -> None:
    text = "the old marl pit"
    spans = [
        CandidateSpan(5, 10, "place", "model"),
        CandidateSpan(90, 120, "place", "model"),
        CandidateSpan(14, 99, "name", "model"),
    ]
    model = read_ahead(lambda texts: [spans for _ in texts], ["another text", text])
    assert said(text, more=[model]) == ["old marl", "pit"]


def test_a_missing_model_names_the_extra() -> None:
    pytest.importorskip("spacy")
    with pytest.raises(
        RecipeError,
        match=r"model no_such_model is not installed; pip install 'cognitive-core\[ner\]'",
    ):
        spacy_detector("no_such_model")


def test_spacy_reads_many_texts_and_is_checked() -> None:
    pytest.importorskip("spacy")
    pytest.importorskip(MODEL)
    found = spacy_detector()(["Alan Turing worked in Manchester.", "nothing"])
    assert [[(one.start, one.end, one.kind) for one in by_text] for by_text in found] == [
        [(0, 11, "person"), (22, 32, "place")],
        [],
    ]


def test_a_digest_depends_on_names_and_contents(tmp_path) -> None:
    (tmp_path / "a").write_text("x")
    first = files_digest(tmp_path)
    (tmp_path / "a").write_text("y")
    assert files_digest(tmp_path) != first


# --- anything ---

WORDS = st.sampled_from(
    'Ida~van~der~Berg~& Sons~Ltd~.~,~of the~The~12 May 1957~$3 million~twenty-five km~(~)~"~*~_~J. R.~Bank~|~:~-~\n~<think>~</think>'
    "~the 1950s~a hundred~and".split("~")
)


@given(st.lists(WORDS, max_size=25).map(" ".join), st.text(max_size=40))
def test_offsets_hold_and_spans_do_not_overlap(text: str, prompt: str) -> None:
    found = detect(read_message(text, prompt, CURRICULUM), DETECTORS)
    assert all(
        0 <= one.start < one.end <= len(text) and text[one.start : one.end].strip() for one in found
    )
    assert all(a.end <= b.start for a, b in pairwise(found))


@pytest.mark.parametrize(
    "unit",
    [
        "van der ",
        "A. ",
        "the ",
        "one hundred and ",
        "12 ",
        '"',
        "*",
        "Aa & ",
        "let A ",
        "1-1-",
        "(",
    ],
)
def test_long_repetitions_take_linear_time(unit: str) -> None:
    """A regular expression that runs away would never end on these; the suite's time limit would
    stop it.
    """
    text = unit * (60_000 // len(unit))
    assert detect(read_message(text, "Go on.", CURRICULUM), DETECTORS) is not None
