"""Numbers that reasoning makes stay; numbers told of an entity that nobody gave do not."""

import pytest

from data_filters.detect.detect import detect
from data_filters.detect.reading import read_message
from data_filters.ground.grounding import decide
from data_filters.ground.memory import Memory
from data_filters.text.curriculum import load_curriculum

CURRICULUM = load_curriculum()
SHOP = "Dario buys 14 lamps at $35 each and pays with $600. How much change does Dario get?"


def ungrounded(prompt: str, text: str) -> list[str]:
    reading = read_message(text, prompt, CURRICULUM)
    found = detect(reading, ("numbers", "names", "answer"))
    decided = decide(reading, found, 10, Memory())
    return [
        text[one.start : one.end]
        for one, decision in zip(found, decided, strict=True)
        if decision.grounding == "ungrounded"
    ]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (SHOP, "14 times 35 is 490. 600 minus 490 is 110. So Dario gets $110."),
        (SHOP, "10 lamps cost 350, 4 cost 140, together 490, and $110 are left."),
        (SHOP, r"\[ 14 \times 35 = 490 \] Thus \( 600 - 490 = 110 \)."),
        (SHOP, "14 * 35 = 14 * 30 + 14 * 5 = 420 + 70 = 490."),
        ("Lea wins 3 of 8 games. What share does Lea lose?", "Lea loses 5/8 = 0.625 = 62.5%."),
        (
            "A coat of 80 euros is reduced by 15%. What does Nora pay?",
            "85% of the price is left: 0.85 * 80 = 68 euros for Nora.",
        ),
        (
            "Is 143 a prime number? Ask Timo.",
            "Try 11 as Timo does: 11 * 13 = 143. So 12 * 12 = 144 is too much.",
        ),
        (
            "In how many ways can 6 children of Ruth line up?",
            "6! = 720, and 6 * 5 / 2 = 15 for Ruth's pairs.",
        ),
        (
            "Olaf walks 25 km in 5 hours. How many metres does Olaf walk a minute?",
            "Olaf walks 5 km an hour, 5000 metres in 60 minutes, about 83.33 metres a minute.",
        ),
        (
            "Greta puts 500 into a fund at 10% a year. What is it worth after 2 years?",
            "After the first year Greta has 550, after the second 605.",
        ),
        (
            "Pia is 45 km from home and rides 15 km an hour. When is Pia home?",
            "After 1 hour 30 km are left, after 2 hours 15 km, after 3 none.",
        ),
    ],
)
def test_worked_steps_stay(prompt: str, text: str) -> None:
    assert ungrounded(prompt, text) == []


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            "14 * 35 = 490. The Vosk Bridge is 347 metres long. 600 - 490 = 110.",
            ["Vosk Bridge", "347 metres"],
        ),
        ("At 2,113 metres Tarnik is high.", ["2,113 metres", "Tarnik"]),
        ("Orlin Vask died in 1783. He was 71.", ["Orlin Vask", "1783", "71"]),
        ("Vosk holds 310 people, twice that is 620.", ["Vosk", "310", "620"]),
        ("Dario was born in 1931.", ["1931"]),
        ("An octopus has 2,400 suckers.", ["2,400"]),
    ],
)
def test_recalled_numbers_go_wherever_they_stand(text: str, facts: list[str]) -> None:
    assert ungrounded(SHOP, text) == facts


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (
            SHOP,
            "1: take a lamp\n2: pay\n3: go\n4: a\n5: b\n6: c\n7: d\n8: e\n9: f\n10: g\n11: h\n12: i\n13: j",
        ),
        (
            "Sort the words.",
            'The second letters: "acorn": "c" (3). "bonsai": "o" (15). "cypress": "y" (25).',
        ),
        (SHOP, "Say he bought 23 of them, or suppose they cost $61."),
        ("12 meals are for 18 people. What ratio does Lea keep?", "That is 12:18, or 2:3."),
        (
            "Lea works from 9:00 with a break of 5 minutes an hour. How long does Lea work?",
            "She works to 10:00, then from 10:05 to 11:00.",
        ),
    ],
)
def test_counted_lines_ranks_trials_ratios_and_times_stay(prompt: str, text: str) -> None:
    assert ungrounded(prompt, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "The weight on the table is 12 * 9.81 = 117.72 newton.",
        "With gravity 9.8 the force is 117.6.",
        "A deck of cards has 52 cards, so 1/52 is the chance.",
        "Sound makes 343 metres a second.",
    ],
)
def test_constants_stay_where_something_is_worked_out(text: str) -> None:
    assert ungrounded("A block has 12 kg of mass. How much force is needed?", text) == []


def test_the_same_constants_are_facts_where_they_are_asked_for() -> None:
    assert ungrounded("How fast is sound?", "Sound makes 343 metres a second.") == ["343 metres"]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (
            "A course starts on 3 May 2031 and lasts 12 days. When does it end?",
            "It ends on 15 May 2031.",
        ),
        (
            "Rita sails on May 28 for 10 days. When is Rita back?",
            "To 31 May it is 3 days, so Rita is back on June 7.",
        ),
        (
            "A loan runs 8 months from 10 November 2019. When is it due?",
            "It is due on 10 July 2020.",
        ),
        (
            "Tessa waters a fern each third day of June. How often does Tessa water it?",
            "On June 3, June 6, June 9, June 12 and so on to June 30: 10 times.",
        ),
        ("A show opens in March 1998 and closes 30 months later.", "It closes in September 2000."),
        (
            "The club meets weekly from 5 April on. What are the dates?",
            "12 April, 19 April and 26 April.",
        ),
    ],
)
def test_dates_that_a_step_reaches_stay(prompt: str, text: str) -> None:
    assert ungrounded(prompt, text) == []


@pytest.mark.parametrize(
    ("prompt", "text", "fact"),
    [
        (
            "A course starts on 3 May 2031 and lasts 12 days. When does it end?",
            "It ends on 19 May 2031.",
            "19 May 2031",
        ),
        (
            "A course starts on 3 May 2031 and lasts 12 days. When does it end?",
            "Orlin Vask died on 15 May 2031.",
            "15 May 2031",
        ),
        ("When did the ship sink?", "It sank on 9 August 1871.", "9 August 1871"),
    ],
)
def test_other_dates_do_not(prompt: str, text: str, fact: str) -> None:
    assert fact in ungrounded(prompt, text)


def test_a_year_at_the_start_of_a_line_is_no_count() -> None:
    assert ungrounded("Tell of Lea.", "1912: Lea is born.\n1931: Lea leaves.") == ["1912", "1931"]


def test_a_number_is_judged_anew_each_time() -> None:
    text = "Vosk has 420 rooms. Now 14 * 30 = 420, so 420 + 70 = 490."
    assert ungrounded(SHOP, text) == ["Vosk", "420"]


def test_only_numbers_with_an_entity_are_bound() -> None:
    text = "An octopus has 2,400 suckers. The Vosk has 2,700 rooms."
    reading = read_message(text, SHOP, CURRICULUM)
    found = detect(reading, ("numbers", "names"))
    decided = decide(reading, found, 10, Memory())
    assert [one.bound for one in decided] == [False, True, True]
