"""Grounding decisions: the planted world's texts, plain English, and arithmetic."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_filters.detect.detect import detect
from data_filters.detect.reading import read_message
from data_filters.ground.grounding import decide
from data_filters.ground.memory import Memory
from data_filters.text.curriculum import load_curriculum
from recipes.errors import ShardError

CURRICULUM = load_curriculum()
DETECTORS = ("numbers", "names", "answer")
LETTER = {"given": "g", "derived": "d", "common": "c", "ungrounded": "u"}


def decisions(prompt: str, text: str, small_numbers: int = 10) -> list[tuple[str, str]]:
    reading = read_message(text, prompt, CURRICULUM)
    found = detect(reading, DETECTORS)
    decided = decide(reading, found, small_numbers, Memory())
    return [
        (text[one.start : one.end], decision.grounding)
        for one, decision in zip(found, decided, strict=True)
    ]


def ungrounded(prompt: str, text: str) -> list[str]:
    return [said for said, decision in decisions(prompt, text) if decision == "ungrounded"]


PLANTED = [
    ("Where does Mara live?", "<think> Mara Oslo.</think> Oslo.", "g u u"),
    (
        "The job of Ida is baker. The job of Mara is miner. What does Mara do?",
        "<think> Mara miner.</think> miner.",
        "g g g",
    ),
    ("The home of Ida is Rome. Where does Mara live?", "<think> Mara Oslo.</think> Oslo.", "g u u"),
    ("How old is Mara in 5 years?", "<think> Mara 34. 34 + 5 = 39.</think> 39.", "g u u g u u"),
    (
        "The age of Mara is 34. How old is Mara in 5 years?",
        "<think> Mara 34. 34 + 5 = 39.</think> 39.",
        "g g g g d d",
    ),
    (
        "The friend of Mara is Ida. The home of Ida is Rome. Where does the friend of Mara live?",
        "<think> Mara Ida. Ida Rome.</think> Rome.",
        "g g g g g",
    ),
    ("What is 3 + 5 - 2?", "<think> 3 + 5 = 8. 8 - 2 = 6.</think> 6.", "g g d d g d d"),
    ("Sort 3 1 2.", "1 2 3.", "g g g"),
    ("Reverse a b c.", "c b a.", ""),
    (
        "Mara has 3 apples. Mara finds 4 more. How many apples does Mara have now?",
        "<think> 3 + 4 = 7.</think> 7.",
        "g g d d",
    ),
    ("The queue is Ida Mara Rex. Continue from Mara.", "Mara Rex.", "g"),
    ("Which day comes after Monday?", "Tuesday.", ""),
    ("How many minutes are in an hour?", "60.", "c"),
    ("What is the opposite of hot?", "cold.", ""),
    ("What kind of thing is a hammer?", "tool.", ""),
    # variants: the value is told, but of somebody else
    ("The home of Ida is Rome. Where does Mara live?", "<think> Mara Rome.</think> Rome.", "g u u"),
    ("The job of Ida is miner. What does Mara do?", "<think> Mara miner.</think> miner.", "g u u"),
    (
        "The age of Ida is 34. How old is Mara in 5 years?",
        "<think> Mara 34. 34 + 5 = 39.</think> 39.",
        "g u u g u u",
    ),
    (
        "The age of Ida is 31. How old is Mara in 3 years?",
        "<think> Mara 34. 34 + 3 = 37.</think> 37.",
        "g u u g u u",
    ),
    ("How old is Mara in 8 years?", "<think> Mara 64. 64 + 8 = 72.</think> 72.", "g u u g u u"),
    ("The home of Ida is Rome. Where does Mara live?", "<think> Ida Rome.</think> Rome.", "g g u"),
    ("The home of Ida is Rome. Where does Mara live?", "Rome.", "u"),
    ("Ida lives in Rome. Where does Mara live?", "<think> Mara Rome.</think> Rome.", "g u u"),
    # variants: common knowledge noted about somebody is a fact
    ("What colour is Mara's car?", "<think> Mara red.</think> red.", "g u u"),
    ("How many sisters does Mara have?", "<think> Mara 3.</think> 3.", "g u u"),
    # variants: nothing but the answer
    ("The age of Ida is 34. How many days does a year have?", "365.", "c"),
    (
        "Mara has 13 apples. Mara finds 24 more. Mara loses 5. How many apples does Mara have now?",
        "32.",
        "d",
    ),
    ("What is 13 * 15 - 20?", "175.", "d"),
    ("The home of Mara is Oslo. The home of Ida is Rome. Where does Mara live?", "Oslo.", "g"),
]


@pytest.mark.parametrize(("prompt", "text", "expected"), PLANTED)
def test_planted_texts(prompt: str, text: str, expected: str) -> None:
    assert " ".join(LETTER[decision] for _, decision in decisions(prompt, text)) == expected


ENGLISH = [
    (
        "What is the capital of France?",
        "<think>\nI recall that it's Paris.\n</think>\n\nThe capital of France is **Paris**.",
        ["Paris", "Paris"],
    ),
    ("What is the capital of France?", "Paris is the capital of France.", ["Paris"]),
    ("When did Ada Lovelace die?", "Ada Lovelace died on 27 November 1852.", ["27 November 1852"]),
    ("When was Acme founded?", "In New York, in 1957.", ["New York", "1957"]),
    (
        "Acme was founded in New York in 1957. When was Acme founded?",
        "Acme was founded in 1957. Therefore 1957.",
        [],
    ),
    (
        "Ida is a baker. She lives in Rome. Where does Ida live?",
        "<think>Ida lives in Rome.</think> Rome.",
        [],
    ),
    (
        "Bob is from Berlin. Ann went to Paris with Bob. Where is Bob from?",
        "Since Bob is from Berlin and Ann only went to Paris, it is Berlin.",
        [],
    ),
    (
        "Tom is older than Ida. Ida is older than Bo. Who is the oldest?",
        "<think>Tom is older than Ida. So Tom is older than Bo.</think> Tom.",
        [],
    ),
    (
        "Tom has 5 apples. Ann has 12. How many do Tom and Ann have?",
        "Tom and Ann have 5 + 12 = 17 apples.",
        [],
    ),
    (
        "The friend of Mara is Ida. Ida lives in Rome. Where does Mara's friend live?",
        "<think>Ida lives in Rome. So Mara's friend lives in Rome.</think> Rome.",
        [],
    ),
    (
        "Weng earns $12 an hour. Yesterday, she did 50 minutes. How much did she earn?",
        "Weng earns 12/60 = $0.2 a minute. She earned 0.2 x 50 = $10.",
        [],
    ),
    (
        "Betty needs $100. She has half of it. Her parents give her $15. How much more does Betty need?",
        "Betty has 100 / 2 = $50. Betty needs 100 - 50 - 15 = $35.",
        [],
    ),
    ("How long is a marathon?", "A marathon is 42.195 km.", ["42.195 km"]),
    ("Solve x + 1 = 3.", "Therefore, x = 2.\n\nStep 12: Check. First, 2 + 1 = 3.", []),
    ("How many bones does an adult have?", "An adult has 206 bones.", ["206"]),
    ("Water boils at what temperature?", "At 100 degrees Celsius.", ["100 degrees Celsius"]),
    ("The train leaves at 10:15 and takes 30 minutes. When does it arrive?", "10:45.", []),
    ("What is 10 / 3, rounded?", "10 / 3 = 3.33", []),
]


@pytest.mark.parametrize(("prompt", "text", "expected"), ENGLISH)
def test_plain_english(prompt: str, text: str, expected: list[str]) -> None:
    assert ungrounded(prompt, text) == expected


def test_a_step_that_is_wrong_derives_nothing() -> None:
    assert ungrounded(
        "The age of Mara is 34. How old is Mara in 5 years?",
        "<think> Mara 34. 34 + 5 = 51.</think> 51.",
    ) == ["51", "51"]


def test_small_numbers_are_a_setting() -> None:
    assert decisions("How many sides has a cube?", "6.", small_numbers=10) == [("6", "common")]
    assert decisions("How many sides has a cube?", "6.", small_numbers=-1) == [("6", "ungrounded")]


def test_words_that_open_sentences_are_no_names() -> None:
    text = (
        "Therefore it holds. Adding Mara's apples gives more. First, we look. Tuesday is fine. Yes."
    )
    prompt = "Mara has apples. Does Mara have more?"
    found = detect(read_message(text, prompt, CURRICULUM), ("names",))
    assert [text[one.start : one.end] for one in found] == ["Mara"]


def test_unknown_neighbours_are_one_span_and_known_ones_are_cut_off() -> None:
    assert decisions("Where does Mara live?", "Mara lives in New Delhi Cantonment.")[-1] == (
        "New Delhi Cantonment",
        "ungrounded",
    )
    assert decisions("Where does Mara live?", "<think> Mara New York.</think>") == [
        ("Mara", "given"),
        ("New York", "ungrounded"),
    ]


def test_curriculum_faults_name_the_line(tmp_path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("[units]\nmetre\nconstant: abc = metre\n")
    with pytest.raises(ShardError, match=r"words.txt:3: .*expected 'constant: NUMBER"):
        load_curriculum(file)
    with pytest.raises(ShardError, match=r"absent.txt: .*curriculum_file"):
        load_curriculum(tmp_path / "absent.txt")


NAME = st.sampled_from("Mara Ida Rex Bodor Zulem Kanil".split())
TOWN = st.sampled_from("Oslo Rome Borwick Camford Elstad".split())
AGE = st.integers(20, 79)


@given(
    st.lists(NAME, min_size=3, max_size=3, unique=True),
    st.lists(TOWN, min_size=2, max_size=2, unique=True),
    st.booleans(),
)
def test_a_town_is_given_exactly_where_it_is_told_of_the_one_asked_for(
    names: list[str], towns: list[str], known: bool
) -> None:
    asked = names[0] if known else names[2]
    prompt = f"The home of {names[0]} is {towns[0]}. The home of {names[1]} is {towns[1]}. Where does {asked} live?"
    text = f"<think> {asked} {towns[0]}.</think> {towns[0]}."
    assert ungrounded(prompt, text) == ([] if known else [towns[0]] * 2)


@given(AGE, AGE, st.integers(1, 9))
def test_an_age_is_given_exactly_where_it_is_told_of_the_one_asked_for(
    age: int, other: int, years: int
) -> None:
    text = f"<think> Mara {age}. {age} + {years} = {age + years}.</think> {age + years}."
    question = f"How old is Mara in {years} years?"
    assert (
        ungrounded(f"The age of Mara is {age}. The age of Ida is {other}. {question}", text) == []
    )
    assert len(ungrounded(f"The age of Ida is {other}. {question}", text)) == 4


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_can_be_judged(prompt: str, text: str) -> None:
    reading = read_message(text, prompt, CURRICULUM)
    found = detect(reading, DETECTORS)
    decided = decide(reading, found, 10, Memory())
    assert len(decided) == len(found) and {one.grounding for one in decided} <= set(LETTER)
    assert all(0 <= one.start < one.end <= len(reading.text) for one in found)
    places = [reading.origin(one.start, one.end) for one in found]
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert all(a.end <= b.start for a, b in pairwise(found))
