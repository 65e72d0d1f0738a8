"""How much a text repeats itself, by hand."""

import pytest

from data_filters.text.repetition import repeated_fraction, repetition


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("dh" * 200, 0.3, 1.0),
        ("so it is so it is so it is so it is so it is so it is", 0.6, 1.0),
        (
            "Mara has four pens and buys three more, so she has seven pens. Then she gives two away and five are left.",
            0.0,
            0.05,
        ),
        ("", 0.0, 0.0),
    ],
)
def test_repetition_of_texts_by_hand(text, low, high):
    assert low <= repetition(text) <= high


def test_the_share_of_grams_that_stood_before():
    """Of the 7 grams of 12 words, the last repeats the first."""
    assert repeated_fraction("a b c d e f a b c d e f") == pytest.approx(1 / 7)
