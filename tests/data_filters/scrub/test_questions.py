"""Whether a question is to be worked out or recalled."""

import pytest

from data_filters.scrub.questions import Asked, PromptSize, Questions, asked
from data_filters.text.curriculum import load_curriculum
from data_filters.text.prompts import read_prompt

CURRICULUM = load_curriculum()


def of(prompt: str) -> Asked:
    return asked(read_prompt(prompt, CURRICULUM), PromptSize())


@pytest.mark.parametrize(
    "prompt",
    [
        "Tovi buys 6 pens at $2 each and a book for $9. How much does Tovi spend?",
        "A train covers 120 km in 2 hours. What is its average speed?",
        "How many positive divisors does 196 have?",
        "If $x^2 = 9$ and $x > 0$, what is $x$?",
        "Simplify \\frac{4}{8}.",
        "What is 17 * 23?",
        "How many vowels are in the word Velmaria?",
        "Write a function `f(x)` that doubles x. What does f(4) return?",
        "Orla is 12 years old, how old will Orla be in 7 years?",
    ],
)
def test_what_gives_its_numbers_is_worked_out(prompt):
    assert of(prompt).worked and not of(prompt).unknown


@pytest.mark.parametrize(
    ("prompt", "numeric"),
    [
        ("Who designed the Vestfjell bridge?", False),
        ("How many moons does Velmar have?", True),
        ("In what year was Orlan Tesk born?", True),
        ("How many cups did Orlan Tesk win in 1994 and 1998?", True),
        ("What is the capital of Velmaria?", False),
        ("What kind of music is on the record See You Tomorrow?", False),
    ],
)
def test_what_says_nothing_of_its_entity_is_recalled(prompt, numeric):
    found = of(prompt)
    assert found.recall and found.unknown and found.numeric is numeric


@pytest.mark.parametrize(
    "prompt",
    [
        "Which month comes before March?",
        "What is the opposite of hot?",
        "Write a poem on Rome.",
        "What kind of word is coat?",
        "How many years are in a decade?",
        "How many millimetres are in a centimetre?",
    ],
)
def test_tools_of_thought_and_instructions_are_not_recalled(prompt):
    assert not of(prompt).recall


def test_a_question_behind_passages_is_no_problem_of_sums():
    passage = (
        "On 3 May the Duke of Velmar met Orlan Tesk of Pell Hall at Turdok with 40 men, and Ilse "
        "Marran left Gradok for Lake Zum with Ida Vox."
    )
    assert not of(f"{passage} {passage} How many ships did Ilse Marran take?").worked


def test_numbers_of_others_are_no_premises():
    told = "The age of Tesk is 34. The age of Velm is 52."
    assert not of(f"{told} How old is Mara in 7 years?").worked
    assert of(f"{told} The age of Mara is 30. How old is Mara in 7 years?").worked


def test_prose_with_a_few_numbers_is_no_problem_of_sums():
    prose = " ".join(
        f"The {word} stood by the river and the people of the valley went there to trade, as their "
        "fathers had done before them, until the road was moved."
        for word in ("mill", "inn", "bridge", "barn")
    )
    assert not of(f"{prose} It had 3 doors and 2 floors. How many people lived in Velmar?").worked


def test_each_turn_has_its_own_question():
    turns = ["Who built Velmar?", "Tesk.", "And what is 3 + 4?", "7."]
    messages = [
        {"role": role, "content": text}
        for role, text in zip(("user", "assistant") * 2, turns, strict=True)
    ]
    questions = Questions(messages, "external", CURRICULUM)
    assert questions.before(1).recall and not questions.gives("Tesk")
    assert questions.before(3).worked and questions.gives("Velmar") and questions.gives("4")
    assert Questions(messages, "reasoning_gym/family_relationships", CURRICULUM).before(1).worked
