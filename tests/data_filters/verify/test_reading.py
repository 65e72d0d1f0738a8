"""Signs, letters, numbers in words and references in the forms that the world writes."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_filters.verify.answers import same_answer, same_choice
from data_filters.verify.checks import Check, check_of, check_of_note
from data_filters.verify.reading.formulas import as_written, differs_in_form, plain_number
from data_filters.verify.reading.references import final_reference, is_readable, last_box
from data_filters.verify.reading.spelling import in_digits, one_form, one_sign
from data_filters.verify.verifiers import Verifiers, says_the_same

MINUS = ("-", "\u2212", "\u2013", "\u2010", "\u2011", "\ufe63", "\uff0d")
ONES = "one two three four five six seven eight nine".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


@pytest.mark.parametrize("sign", MINUS)
@pytest.mark.parametrize("form", ["{}41", "({}41)", "It is {}41 degrees.", "x = {} 41", "{}$41"])
def test_every_minus_is_one(sign: str, form: str) -> None:
    said = form.format(sign)
    assert same_answer(said, "-41")
    assert not same_answer(said, "41")
    assert same_answer("-41", f"{sign}41")


@pytest.mark.parametrize("said", ["minus 6", "It is negative six.", "- 6", "$- 6$", "equals -6"])
def test_a_minus_in_words_or_apart(said: str) -> None:
    assert same_answer(said, "-6")
    assert not same_answer(said, "6")


@pytest.mark.parametrize("said", ["\u00b16", "\\pm 6", "+/- 6", "9 minus 3", "9 - 3"])
def test_what_is_no_sign_of_one_number(said: str) -> None:
    assert not same_answer(said, "6")
    assert not same_answer(said, "-6")


def test_a_dash_between_words_is_no_sign() -> None:
    assert same_answer("Total - 6 apples", "6")
    assert same_answer("1990\u20131994", "1990-1994")


@given(st.sampled_from(TENS), st.sampled_from(ONES), st.sampled_from(ONES), st.sampled_from("- "))
def test_numbers_in_words_are_worth_their_parts(ten: str, one: str, many: str, gap: str) -> None:
    small = 10 * (TENS.index(ten) + 2) + ONES.index(one) + 1
    hundreds = 100 * (ONES.index(many) + 1)
    assert in_digits(f"{ten}{gap}{one}") == str(small)
    assert in_digits(f"{many} hundred and {ten}{gap}{one} geese") == f"{hundreds + small} geese"
    assert in_digits(f"{ten}{gap}{one} thousand {many}") == str(small * 1000 + hundreds // 100)


@pytest.mark.parametrize(
    ("said", "gold", "same"),
    [
        ("There are thirty-one hens.", "31", True),
        ("thirty-one", "30", False),
        ("a dozen", "12", True),
        ("three quarters", "3/4", True),
        ("two and a half", "2.5", True),
        ("1.5 million", "1500000", True),
        ("nine", "nineteen", False),
        ("19", "nineteen", True),
        ("One of them, the 4 from Oslo", "4", True),
        ("four kilometres", "4 km", True),
        ("4 miles", "4 km", False),
        ("4 apple", "4 apples", True),
        ("The unknown number is 4.", "4", True),
    ],
)
def test_numbers_and_units(said: str, gold: str, same: bool) -> None:
    assert same_answer(said, gold) is same


@pytest.mark.parametrize(
    ("said", "gold"),
    [
        ("Fre\u0301de\u0301ric", "Fr\u00e9d\u00e9ric"),
        ("Mal\u00admo", "Malmo"),
        ("Fr\u00e9d\u00e9ric", "Frederic"),
        ("Sean O\u2019Neill", "Sean O'Neill"),
        ("\uff14\uff12", "42"),
        ("10\u202f000", "10000"),
        ("10{,}000", "10,000"),
    ],
)
def test_letters_and_digits_in_one_form(said: str, gold: str) -> None:
    assert same_answer(said, gold)


def test_ascii_is_left_alone() -> None:
    text = "a - b -- c"
    assert one_form(text) is text


@pytest.mark.parametrize(
    ("reference", "final"),
    [
        ("Six pens cost 6*2=<<6*2=12>>12.\n#### 12", "12"),
        ("Work: 3 + 4.\n#### 1,700", "1,700"),
        ("It follows that x = 7. The answer is: 7", "7"),
        ("Thus $a = \\boxed{\\frac{2}{7}}$.", "\\frac{2}{7}"),
        ("First \\boxed{1}, then \\boxed{\\text{no {x}}}", "\\text{no {x}}"),
        ("So \\boxed 9.", "9"),
        ("\\fbox{3}", "3"),
        ("Oslo", "Oslo"),
        ("1 2\n3 4", "1 2\n3 4"),
    ],
)
def test_a_reference_comes_down_to_its_final_answer(reference: str, final: str) -> None:
    assert final_reference(reference) == final


def test_boxes_that_never_close_are_none() -> None:
    assert last_box("\\boxed{3") is None
    assert last_box("no box") is None


def test_working_whose_end_nobody_marked_is_no_reference() -> None:
    working = "we take these numbers and add them one after the other until nothing is left " * 5
    assert is_readable("Oslo") and not is_readable(working)
    with Verifiers() as verifiers:
        said = verifiers.judge([("It is 5.", check_of(working))])[0]
    assert (said.verdict, said.why) == (
        "unknown",
        "the reference is a text without a final answer",
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\\dfrac12", "\\frac{1}{2}"),
        ("\\left( 3, 4 \\right)", "(3,4)"),
        ("10,\\!000", "10,000"),
        ("\\text{east}", "east"),
        ("90^{\\circ}", "90^\\circ"),
        ("\u03c0/2", "\\pi/2"),
        ("x\u00b2", "x^{2}"),
    ],
)
def test_formulas_in_one_form(one: str, other: str) -> None:
    assert as_written(one) == as_written(other)


def test_a_space_between_digits_stays() -> None:
    assert as_written("1 2/3") != as_written("12/3")
    assert plain_number("1 2") is None
    assert plain_number("$-1,234.5$") == Fraction(-12345, 10)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("[0,9]", "[0,9)"),
        ("(-\\infty, 2]", "[-\\infty, 2]"),
        ("(1,2) \\cup [3,4)", "(1,2) \\cup (3,4)"),
        ("34_7", "34_{8}"),
        ("5 \\text{ cm}^2", "5 \\text{ cm}^3"),
    ],
)
def test_differences_that_a_parser_does_not_see(answer: str, gold: str) -> None:
    assert differs_in_form(answer, gold) and not differs_in_form(gold, gold)


def test_a_choice_has_whole_brackets_and_no_sign() -> None:
    assert same_choice("\\text{(C)}", "\\text{(C)}") is True
    assert same_choice("(C]", "(C)") is False
    assert same_choice("-C", "C") is False


@pytest.mark.parametrize(
    "check",
    [
        Check(kind="answer", gold="Oslo"),
        Check(kind="answer", gold="7"),
        Check(kind="answer", gold="five", others=("5", "V")),
        Check(kind="program", tests="assert f(1) == 2"),
        Check(
            kind="reasoning_gym", family="x", gold="1", entry={"answer": "1", "metadata": {1: (2,)}}
        ),
    ],
)
def test_a_check_travels_as_a_note(check: Check) -> None:
    assert check_of_note(check.gold, check.note()) == check


def test_a_foreign_note_is_passed_over() -> None:
    for note in ("yes", "[1]", '{"kind": 3, "no": 1}', "{"):
        assert check_of_note("7", note) == check_of("7")


def test_one_of_several_references_is_enough() -> None:
    check = Check(kind="answer", gold="Turing", others=("Alan Turing", "A. M. Turing"))
    with Verifiers() as verifiers:
        said = verifiers.judge([("It is Alan Turing.", check), ("Church", check)])
    assert [one.verdict for one in said] == ["correct", "wrong"]


def test_the_same_answer_needs_no_verifier() -> None:
    assert says_the_same("<think>a</think> It is 5.", "<think>b</think> It is 5.")
    assert not says_the_same("It is 5.", "It is 6.")


@pytest.mark.parametrize(
    ("said", "gold", "same"),
    [
        ("Captain Ida M. Holm", "Ida Holm", True),
        ("Ida Holm", "Dr. Ida Holm", True),
        ("Ida Berg Holm", "Ida Holm", False),
        ("Holm", "Ida Holm", False),
        ("Bergen, Norway", "Bergen in Norway", True),
        ("enzymes", "enzyme", True),
        ("c a", "c b a", False),
        ("kam lo", "kam b lo", False),
        ("4 March 1921", "March 4, 1921", True),
        ("Mar. 4th, 1921", "4 March 1921", True),
        ("March 1921", "March 4, 1921", True),
        ("1921", "March 4, 1921", True),
        ("March 5, 1921", "March 4, 1921", False),
        ("March 4, 1921", "1921", False),
        ("March 4", "March 4, 1921", False),
        ("not March 4, 1921", "March 4, 1921", False),
    ],
)
def test_names_and_dates_in_several_forms(said: str, gold: str, same: bool) -> None:
    assert same_answer(said, gold) is same


def test_a_number_without_end_costs_no_time():
    """200,000 digits took the square of their number in steps: a day."""
    digits = "7" * 200_000
    assert one_sign(digits) == digits
    assert one_sign(f"{digits} million").startswith("777")
