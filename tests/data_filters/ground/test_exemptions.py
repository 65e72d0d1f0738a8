"""Names that are nobody: people of examples, discoverers in the names of laws, symbols."""

import pytest

from data_filters.detect.detect import detect
from data_filters.detect.reading import read_message
from data_filters.ground.exemptions import Exemptions
from data_filters.ground.own_symbols import PromptLetters
from data_filters.text.curriculum import load_curriculum

CURRICULUM = load_curriculum()


def names(prompt: str, text: str) -> list[str]:
    """The names of a text that are still ungrounded."""
    reading = read_message(text, prompt, CURRICULUM)
    exempt = Exemptions(reading, PromptLetters(), None)
    return [
        text[one.start : one.end]
        for one in detect(reading, ("names",))
        if exempt.grounding(one) == "ungrounded"
    ]


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("How old is the cat?", "If Alice has a cat and Bob has two, it is odd.", []),
        ("Sum it up.", "Say John Doe pays, and Jane Doe does not.", []),
        ("Who wrote the play?", "It was Alice.", ["Alice"]),
        ("Sum it up.", "It was written by Alice Varnok.", ["Alice Varnok"]),
        ("Find the current.", "By Ohm's law and by Kirchhoff's second rule it is 3.", []),
        ("Find the area.", "We use Heron's formula here.", []),
        ("Tell of physics.", "It was found by Heron in the year.", ["Heron"]),
        ("Did she send a letter to Vork?", "She sent it to Bork.", ["Bork"]),
        ("Change one letter of Vork at each step to form words.", "Vork, Bork.", []),
        ("Two alleles P and q are mixed.", "Then PP and Pp follow.", []),
        ("Two alleles P and Q are mixed.", "Then PP and PQ follow.", []),
    ],
)
def test_names_that_are_nobody(prompt: str, text: str, expected: list[str]) -> None:
    assert names(prompt, text) == expected
