"""Questions of general knowledge, options, labels and sentences that go on."""

import pytest

from data_filters.records.traces import Trace
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from data_filters.text.prompts import read_prompt
from data_filters.text.questions.knowledge import asks_general_knowledge, options, stands_alone
from recipes.vocabulary import Action, Grounding

CURRICULUM = load_curriculum()
SCRUBBER = Scrubber(
    detectors=("numbers", "names", "answer"), curriculum=CURRICULUM, ungrounded_action=Action.MASK
)


def ungrounded(prompt: str, text: str) -> list[str]:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    trace = Trace(id="t", problem_id="t", source="s", seed=0, messages=messages)
    spans = SCRUBBER.spans(trace)
    return [span.original for span in spans if span.grounding == Grounding.UNGROUNDED]


@pytest.mark.parametrize(
    "prompt",
    [
        "Which gland makes adrenaline?",
        "What gas do plants give off? Answer in one word.",
        "who invented the stethoscope?",
        "Which metal is the lightest?\nA. zinc\nB. lithium\nC. iron\nD. lead",
        "How many chambers does a heart have?",
    ],
)
def test_general_knowledge_is_asked_for(prompt: str) -> None:
    assert asks_general_knowledge(read_prompt(prompt, CURRICULUM))


@pytest.mark.parametrize(
    "prompt",
    [
        "How many are left if 3 of 9 are sold?",  # numbers to work with
        "Which box is heavier? The red box weighs as much as two of the green ones on the scale.",
        "Who opened the gate?",  # nobody can recall which
        "Who wrote Vestria Rising?",  # of an entity: told apart elsewhere
        "What is the best way to cook rice?",
        "Which of the following words is the longest?",
        "What should I cook today?",
        "Sort the list.",
        "What does this function do?",
    ],
)
def test_what_is_thought_or_not_told_is_no_general_knowledge(prompt: str) -> None:
    assert not asks_general_knowledge(read_prompt(prompt, CURRICULUM))


@pytest.mark.parametrize(
    "prompt",
    [
        "Which is it? (A) zinc (B) lithium (C) iron",
        "Which is it?\nA. zinc\nB. lithium\nC. iron",
        "Which is it?\nOptions: A) zinc B) lithium C) iron",
    ],
)
def test_options_are_read_by_letter(prompt: str) -> None:
    facts = read_prompt(prompt, CURRICULUM)
    assert options(facts) == {"A": "zinc", "B": "lithium", "C": "iron"}
    assert stands_alone(facts) and facts.question.text == "Which is it?"


def test_a_list_of_points_is_no_choice() -> None:
    assert options(read_prompt("I. first\nC. third. What now?", CURRICULUM)) == {}


@pytest.mark.parametrize(
    ("prompt", "text", "found"),
    [
        ("Which gland makes adrenaline?", "<think>It is the suprarenal.</think>suprarenal", 2),
        ("How many moons has Vestria?", "<think>It has two moons.</think>\n2", 2),
        ("When does the rain reach Vestria?", "<think>It comes in June.</think>\nJune.", 2),
        ("Is Orvasso in Vestria?", "<think>Orvasso is there.</think>\nYes", 1),
        ("Was Ida Vell healthy?", "Ida Vell was blind in her last years.", 1),
        (
            "Which metal is the lightest?\nA. zinc\nB. lithium\nC. iron\nD. lead",
            "<think>\nThe lightest metal is lithium.\n</think>\nB",
            2,
        ),
    ],
)
def test_small_answers_of_recall_are_found(prompt: str, text: str, found: int) -> None:
    assert len(ungrounded(prompt, text)) == found


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("How many days are in a week?", "<think>There are seven days.</think>\n7"),
        ("What colour is a ripe banana?", "yellow"),
        ("Ida is in Orvasso. Is Ida in Orvasso?", "Yes"),
        ("Facts: Vestria has no coast. A harbour needs a coast. Is a harbour in Orvasso?", "No"),
        ("Who opened the gate? (A) Ida Falk (B) Udo Marsch", "<think>Udo Marsch.</think>\n(B)"),
        ("Ida has 3 pens, Udo 5. Who has more? (A) Ida (B) Udo", "<think>5 > 3.</think>\nB"),
    ],
)
def test_small_answers_that_are_thought_or_given_stay(prompt: str, text: str) -> None:
    assert ungrounded(prompt, text) == []


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("Ida has 2 sisters and 3 brothers. How many sisters has Udo's brother?", "3"),
        ("Now unscramble these words: Oslo daed si", "<think>Oslo dead is</think>\nOslo dead is"),
        ("What word does this drawing say?\n##..##..####\n##..##....##", "TANGO"),
        (
            "Fill the jugs. Jug A holds 3, Jug B 5.",
            "Fill Jug A. Empty Jug B. Pour Jug A into Jug B.",
        ),
    ],
)
def test_puzzles_are_not_recalled(prompt: str, text: str) -> None:
    assert ungrounded(prompt, text) == []
