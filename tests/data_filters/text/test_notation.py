"""Code, formulas and symbols."""

import pytest

from data_filters.text.notation import Notation


@pytest.mark.parametrize(
    ("text", "word", "symbol"),
    [
        ("Let $AB$ be a side.", "AB", True),
        (r"Then \(PQ = 3\) holds.", "PQ", True),
        (r"\[ \text{Oslo} = N \]", "Oslo", False),
        ("Use `NodeList(3)` here.", "NodeList", True),
        ("See `Ida Velmar` for it.", "Velmar", False),
        ("```\nCapital: Oslo\n```", "Oslo", False),
        ("```yaml\ncity: Oslo\n```", "Oslo", False),
        ("```\nTotal = count(Rows)\n```", "Rows", True),
        ("```python\nTotal = 3\n```", "Total", True),
        ("```python\nx = 'Oslo'\n```", "Oslo", False),
        ("```python\nx = 1  # by Ramanujan\n```", "Ramanujan", False),
        ("The rows N_and_rest are read.", "N_and_rest", True),
        ("Here V_max is the peak.", "V_max", True),
        ("By Borik_Tullan in the log.", "Borik_Tullan", False),
        ("We pay $5 to Ida and $7 to Bo.", "Ida", False),
        ("The force F\u2082 grows.", "F\u2082", True),
        ("She met Ida.", "Ida", False),
    ],
)
def test_symbols(text: str, word: str, symbol: bool) -> None:
    assert Notation(text).is_symbol(word, text.index(word)) is symbol
