"""One normal form: letters that look alike are equal, and every span has a place of whole letters in
the text as it stands."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_filters.text.language.normal import fold, normal_text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jose\u0301 of Ma\u0301laga", "Jos\u00e9 of M\u00e1laga"),  # decomposed
        ("Alex\u00adandra", "Alexandra"),  # soft hyphen
        ("Os\u200dlo\u200b", "Oslo"),  # joiner, space of no width
        ("\ufeffOslo", "Oslo"),  # byte order mark
        ("O\u02bcBrien and O\u2019Hara", "O'Brien and O'Hara"),
        ("12\u00a0km", "12 km"),
        ("12\u2009000 km", "12,000 km"),
        ("\uff11\uff12\uff13", "123"),
        ("\u22125 and \u20135", "-5 and -5"),
        ("Marie\u2011Anne, Marie\u2013Anne", "Marie-Anne, Marie-Anne"),
        ("\ufb01ve", "five"),
        ("\U0001d465 = 3", "x = 3"),
        ("\u00bd and 1\u00bd", "1/2 and 1 1/2"),
    ],
)
def test_two_ways_to_write_a_text_are_equal(one: str, other: str) -> None:
    assert normal_text(one).text == normal_text(other).text == other


@pytest.mark.parametrize(
    "kept", ["x\u00b2", "3\u20131", "1914\u20131918", "\u201cOslo\u201d", "\u03c0r"]
)
def test_what_says_something_else_stays(kept: str) -> None:
    assert normal_text(kept).text == kept
    assert normal_text(kept).origin(0, 1) == (0, 1)


def test_a_range_is_taken_back_to_whole_letters() -> None:
    text = "In Ma\u0301laga Alex\u00adandra ate \u00bd."
    normal = normal_text(text)
    for said, stands in (("M\u00e1laga", text[3:10]), ("Alexandra", text[11:21]), ("2", "\u00bd")):
        start = normal.text.index(said)
        begin, end = normal.origin(start, start + len(said))
        assert text[begin:end] == stands


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_every_range_has_a_place_and_the_normal_form_is_its_own(text: str) -> None:
    normal = normal_text(text)
    ends = [normal.origin(at, at + 1) for at in range(len(normal.text))]
    assert all(0 <= start < end <= len(text) for start, end in ends)
    assert [start for start, _ in ends] == sorted(start for start, _ in ends)
    assert normal_text(normal.text).text == normal.text


@given(st.text("ABCabc \u00e9\u00fc\u00f1\u00e5", max_size=40))
def test_composed_and_decomposed_are_one(text: str) -> None:
    apart = unicodedata.normalize("NFD", text)
    normal = normal_text(apart)
    assert normal.text == text
    for at in range(len(text)):
        start, end = normal.origin(at, at + 1)
        assert unicodedata.normalize("NFC", apart[start:end]) == text[at]


def test_accents_fold_away() -> None:
    assert fold("Z\u00fcrich") == "Zurich" and fold("Oslo") == "Oslo"
