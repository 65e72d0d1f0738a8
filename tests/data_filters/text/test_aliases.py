"""Other forms of a given name: demonyms, initials, misspellings; fields, records and pronouns."""

import pytest

from data_filters.records.traces import Trace
from data_filters.scrub.scrub import Scrubber
from data_filters.text.aliases.demonyms import of_one_place
from data_filters.text.aliases.initials import initials
from data_filters.text.aliases.spelling import misspelt
from data_filters.text.curriculum import load_curriculum
from data_filters.text.tokens import split_sentences
from recipes.vocabulary import Action, Grounding

SCRUBBER = Scrubber(
    detectors=("numbers", "names", "answer"),
    curriculum=load_curriculum(),
    ungrounded_action=Action.MASK,
)


def ungrounded(prompt: str, text: str) -> list[str]:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    trace = Trace(id="t", problem_id="t", source="s", seed=0, messages=messages)
    spans = SCRUBBER.spans(trace)
    return [span.original for span in spans if span.grounding == Grounding.UNGROUNDED]


@pytest.mark.parametrize(
    ("place", "people"),
    [
        ("peru", "peruvian"),
        ("hungary", "hungarian"),
        ("netherland", "dutch"),
        ("france", "french"),
        ("china", "chinese"),
        ("japan", "japanese"),
        ("denmark", "danish"),
        ("egypt", "egyptian"),
        ("berlin", "berliner"),
        ("iraq", "iraqi"),
        ("vestria", "vestrian"),  # of no list
        ("orvassia", "orvassian"),
    ],
)
def test_a_place_and_its_people_are_one(place: str, people: str) -> None:
    assert of_one_place(place, people) and of_one_place(people, place)


@pytest.mark.parametrize(
    ("one", "other"), [("kari", "karin"), ("peru", "persian"), ("mara", "maran"), ("ida", "idan")]
)
def test_names_that_only_look_alike_are_two(one: str, other: str) -> None:
    assert not of_one_place(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mikkalsen", "Mikalsen"),  # a letter less
        ("Rihanna", "Rihana"),
        ("Marchetti", "Marchetit"),  # changed places
        ("Brandeis", "Brandies"),
        ("Catharina", "Catherina"),  # another vowel
        ("Fredericton", "Frederickton"),
    ],
)
def test_one_slip_is_a_misspelling(one: str, other: str) -> None:
    assert misspelt(one, other) and misspelt(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Martin", "Martina"),  # an end makes another name
        ("Bemir", "Bemar"),  # short
        ("Hanson", "Janson"),
        ("Karlson", "Karlton"),
        ("Oslo", "Oslo"),
    ],
)
def test_another_name_is_no_misspelling(one: str, other: str) -> None:
    assert not misspelt(one, other)


def test_initials_are_made_from_runs_of_capitals() -> None:
    (sentence,) = split_sentences("Then the Bank of New Halden met Ida Vell there.")
    made = set(initials(sentence.words))
    assert {"bnh", "bonh", "nh", "iv", "b", "i", "v"} <= made and "then" not in made


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("The Northern Rope Council met. Who met?", "The NRC met."),
        ("A Peruvian met a Dane. Where are they from?", "From Peru and from Denmark."),
        ("A woman from Vestria met him. Who?", "A Vestrian."),
        ("Ida Vell met Tomas Mikkalsen. Whom did she meet?", "Dr. Vell met Mr. Mikalsen."),
        ("Ida Vell met Tomas Brandt. Whom did she meet?", "President Vell met Captain Brandt."),
        ("Ida Vell met Tomas Brandt. Whom did she meet?", "I. Vell met T. Brandt."),
        ("Date: 1937\nPerson: Ilse Marran\n\nWhen was it?", "Ilse Marran made it in 1937."),
        ("| Person | Ilse Marran |\n| Born | 1937 |\nWhen?", "Ilse Marran was born in 1937."),
        (
            '{"Name": "Ilse Marran", "Born": 1937}\nWhen was Ilse Marran born?',
            "Ilse Marran was born in 1937.",
        ),
        (
            "Ilse Marran is a pilot. She was born in Orvasso in 1901. Where was Ilse Marran born?",
            "Ilse Marran was born in Orvasso in 1901.",
        ),
        (
            "Orvasso is a town.\nThe mayor is Udo Falk.\n\nWho is the mayor of Orvasso?",
            "Udo Falk of Orvasso.",
        ),
    ],
)
def test_what_is_given_in_another_form_stays(prompt: str, text: str) -> None:
    assert ungrounded(prompt, text) == []


@pytest.mark.parametrize(
    ("prompt", "text", "found"),
    [
        ("The Northern Rope Council met. Who met?", "The NRX met.", ["NRX"]),
        ("A Peruvian met a Dane. Where are they from?", "From Chile.", ["Chile"]),
        ("Ida Vell met Tomas Brandt. Whom did she meet?", "Dr. Falk.", ["Dr. Falk"]),
        (
            "Person: Ilse Marran\nBorn: 1937\n\nPerson: Udo Falk\nBorn: 1941\n\nWhen was Udo Falk born?",
            "Udo Falk was born in 1937.",
            ["1937"],
        ),
        (
            "The home of Ida is Orvasso. The home of Mara is Haldmark. Where does Ida live?",
            "Ida lives in Haldmark.",
            ["Haldmark"],
        ),
    ],
)
def test_another_name_or_the_value_of_somebody_else_is_found(
    prompt: str, text: str, found: list[str]
) -> None:
    assert ungrounded(prompt, text) == found
