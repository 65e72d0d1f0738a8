"""Languages: English or not, by script and by function words; formulas and code are no language."""

import pytest

from data_filters.text.language.tell import (
    foreign_stretches,
    language,
    languages,
    speaks_other,
    supported,
)

TEXTS = {
    "en": "First I count the boxes that are left, then I add the two from the shelf.",
    "de": "Zuerst rechnet man aus, wie viele Stifte noch da sind, und dann nimmt man zwei weg.",
    "fr": "On compte d'abord les crayons qui sont dans la bo\u00eete, puis on ajoute les deux autres.",
    "es": "Primero contamos los libros que hay en la mesa y luego sumamos los dos de la caja.",
    "it": "Prima si contano i libri che sono sulla tavola, poi si aggiungono anche gli altri due.",
    "pt": "Primeiro contamos os livros que est\u00e3o na mesa e depois somamos os dois da caixa.",
    "nl": "Eerst tellen we hoeveel boeken er op de tafel zijn en dan doen we er nog twee bij.",
    "ru": "\u0421\u043d\u0430\u0447\u0430\u043b\u0430 \u0441\u0447\u0438\u0442\u0430\u0435\u043c \u043a\u043d\u0438\u0433\u0438.",
    "zh": "\u684c\u5b50\u4e0a\u6709\u4e09\u672c\u4e66\u3002",
    "ja": "\u672c\u304c\u4e09\u518a\u3042\u308a\u307e\u3059\u3002",
    "ko": "\ucc45\uc774 \uc138 \uad8c \uc788\uc2b5\ub2c8\ub2e4.",
    "ar": "\u062b\u0644\u0627\u062b\u0629 \u0643\u062a\u0628",
    "el": "\u03c4\u03c1\u03af\u03b1 \u03b2\u03b9\u03b2\u03bb\u03af\u03b1 \u03b5\u03b4\u03ce",
}


@pytest.mark.parametrize(("code", "text"), TEXTS.items())
def test_a_sentence_tells_its_language(code: str, text: str) -> None:
    assert language(text) == code
    assert supported(text) == (code == "en")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "3 + 4 = 7",
        r"\[ \frac{3}{5} \times 50 = 30 \]",
        "$\u0394x \\cdot \u03c0 r^2$",
        "```python\nder = das + die\nfor der in die: print(und)\n```",
        "Oslo.",
        "https://example.org/der/die/das",
    ],
)
def test_what_is_no_prose_is_no_language_and_is_read(text: str) -> None:
    assert language(text) == ""
    assert supported(text)


@pytest.mark.parametrize(
    "text",
    [
        "The acceleration is \u0394v/\u0394t, and \u03b8 = \u03c0/2.",
        "Lorenzo de' Medici and Karl van der Berg met in Den Haag.",
        "Label the corners A, B, C and D; then AC and BD cross at E.",
        "He said \u201cbonjour\u201d and left for the caf\u00e9 in Besan\u00e7on.",
        "In the well-known dish, \u8336 is boiled with milk until it thickens.",
        "a=1, b=2: so a+b is 3 and y is 2.",
    ],
)
def test_names_symbols_and_single_words_make_no_other_language(text: str) -> None:
    assert language(text) == "en"


def test_an_unknown_language_is_not_taken_for_english() -> None:
    text = "Zkolo brenfi ustek malvo prenni gastul vorem deshti klurro pamtek sovvi drelmo untek."
    assert language(text) == "und" and not supported(text)


def test_thought_and_answer_are_told_apart_and_short_ones_follow_the_prompt() -> None:
    message = f"<think>\n{TEXTS['en']}\n</think>\n\n{TEXTS['de']}"
    assert languages(message) == ("en", "de")
    assert languages(f"<think>\n{TEXTS['en']}\n</think>\n\n12") == ("en",)
    assert languages("12", asked="de") == ("de",)


def test_a_long_text_is_told_by_samples() -> None:
    assert language(f"{TEXTS['en']} " * 400) == "en"
    assert language(TEXTS["de"] + " 1 + 1 = 2." * 5000) == "de"


def test_stretches_of_another_script_are_whole() -> None:
    text = "I recall \u4e2d\u56fd\u7684\u9996\u90fd\u662f\u5317\u4eac\u3002 So \u03c0 and \u0394t are symbols."
    assert [text[a:b] for a, b in foreign_stretches(text)] == [text[9:17]]


def test_a_sentence_of_another_language_in_an_english_text() -> None:
    assert speaks_other(TEXTS["de"].rstrip(".").replace(",", "").split())
    assert not speaks_other(TEXTS["en"].lower().split())
    assert not speaks_other("Karl van der Berg met Lorenzo de Medici".split())


def test_one_word_said_often_is_no_language() -> None:
    moves = ("fill A pour A B pour A C empty B pour B A pour C A fill C pour C B").split()
    assert not speaks_other(moves)
