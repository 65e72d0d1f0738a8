"""What a question asks for: something to be worked out from what it gives, or something that only
memory has.

"Marek packs 12 jars into each of 14 boxes. How many jars?" is worked out; "Who designed the Vestfjell
bridge?" is recalled. An answer of the first kind is never declined, whatever looks recalled in it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data_filters.text.curriculum import Curriculum
from data_filters.text.prompts import PromptFacts
from data_filters.text.questions.knowledge import asks_general_knowledge
from data_filters.text.stem import stem
from data_filters.text.tokens import is_year

# formulas, code and sums that stand in a prompt
_FORMULA = re.compile(
    r"\$[^$\n]+\$|\\[A-Za-z(\[]|```|\w\(\w*[,)]|\w\[\w|[A-Za-z0-9)]\s*(?:[=<>^\u00d7\u00f7]|[*/+]\s)\s*[\w(]"
    r"|\d\s*[-+*/]\s*\d"
)
_HOW = re.compile(
    r"\bhow\s+(?:many|much|far|old|long|tall|high|wide|deep|heavy|fast|big|large|often|likely|soon)\b"
)
# stems of what is counted or computed, and of words that ask for it
_NUMERIC = frozenset(
    map(
        stem,
        "total sum number count average mean median difference product quotient remainder percent "
        "percentage fraction ratio rate probability price cost profit amount distance speed length "
        "width height area volume perimeter weight age time year date day month hour minute value "
        "calculate compute solve evaluate determine simplify estimate find express".split(),
    )
)
# stems of mathematics, and of questions about words as words: no memory of facts helps there
_THOUGHT = frozenset(
    map(
        stem,
        "prime divisor factor integer digit decimal triangle angle polygon hexagon probability "
        "equation polynomial function sequence matrix vector permutation combination subset modulo "
        "letter letters vowel consonant syllable spell backward backwards reverse reversed anagram "
        "palindrome rhyme unscramble scramble jumble cipher decrypt encrypt decode encode "
        "alphabetical alphabetically sort uppercase lowercase arrange rearrange "
        "expression algorithm program array boolean opposite synonym antonym plural word".split(),
    )
)
_WORDS = re.compile(r"[a-z]+")
_PARTS = re.compile(r"[^\W_]+")
# a problem has a number in so many words at least, and a formula; encyclopaedic prose has fewer
_WORDS_A_NUMBER, _WORDS_A_FORMULA = 40, 100
_NAMES_A_NUMBER = 2  # and it names so many different things for each number at most
_SPARE_NAMES = 4
_INNER_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
_ASKS = re.compile(
    r"\?|(?:who|whom|whose|what|which|when|where|how|name|is|are|was|were|do|does|did|can|could)\b"
)
PROCEDURAL = "reasoning_gym/"  # sources whose problems hold all that their answers are made of


class Asked(NamedTuple):
    """What a message of the assistant answers.

    Attributes:
        worked: the prompt gives what the answer is made of: numbers, a formula, a program.
        numeric: a number, a date or a formula is asked for.
        asks: it is a question, and not an instruction to write something.
        unknown: it asks about a named entity of which it says nothing else, and is not worked.
        recall: so, and it gives nothing to count with either; or general knowledge is asked for.
    """

    worked: bool
    numeric: bool
    asks: bool
    unknown: bool
    recall: bool


class PromptSize:
    """How long a prompt is, and what it names; each message is read once."""

    def __init__(self) -> None:
        self.num_words = self.num_formulas = self._read = 0
        self.names: set[str] = set()  # capitalised words inside sentences

    def read(self, messages: Sequence[str]) -> None:
        """Counts the messages that came since the last call."""
        for text in messages[self._read :]:
            self.num_words += len(text.split())
            self.num_formulas += len(_FORMULA.findall(text))
            self.names.update(_INNER_NAME.findall(text))
        self._read = len(messages)


def asked(facts: PromptFacts, size: PromptSize) -> Asked:
    """What the last question of a prompt asks for.

    Args:
        facts: what the prompt says.
        size: of the same prompt; messages that it has not seen are counted.
    """
    size.read(facts.messages)
    said = facts.question.text.lower()
    words = {stem(word) for word in _WORDS.findall(said)}
    numbers = _num_numbers(facts)
    numeric = _HOW.search(said) is not None or not words.isdisjoint(_NUMERIC)
    formulas = size.num_formulas > size.num_words / _WORDS_A_FORMULA
    exact = formulas or not words.isdisjoint(_THOUGHT)
    prose = len(size.names) > _SPARE_NAMES + _NAMES_A_NUMBER * numbers
    few = not prose and numbers > size.num_words / _WORDS_A_NUMBER
    many = few and numbers > max(2, 2 * size.num_words / _WORDS_A_NUMBER)
    counted = numeric and few and (numbers > 1 or not facts.asked)
    worked = exact or counted or many
    asks = _ASKS.match(said.strip("\"'(* ")) is not None or "?" in said
    unknown = asks and not worked and _says_nothing_else(facts)
    basic = all(map(facts.curriculum.knows, words))  # "How many years are in a decade?"
    general = asks and not (worked or basic) and asks_general_knowledge(facts)
    recall = general or (unknown and numbers == 0)
    return Asked(worked, numeric or exact, asks, unknown, recall)


def _says_nothing_else(facts: PromptFacts) -> bool:
    """Whether no sentence but the question mentions what is asked about, or there is no other
    sentence and the question names something, be it in ordinary words ("See You Tomorrow").
    """
    if facts.asks_about_unknown or len(facts.statements) > 1:
        return facts.asks_about_unknown
    names = _INNER_NAME.findall(facts.question.text)
    return any(stem(name.lower()) not in facts.curriculum.proper for name in names)


def _num_numbers(facts: PromptFacts) -> int:
    """How many numbers can be counted with: of the one who is asked about, of those that statements
    link to it, and of nobody; years alone give nothing to count.
    """
    values = facts.statements.numbers_about(facts.asked) if facts.asked else set(facts.numbers)
    counted = {value for value in values if not is_year(value)}
    return len(facts.summands(counted)) or len(counted)


class Questions:
    """What the messages of one conversation answer; asked for in their order, so that each prompt
    is read once.

    Args:
        messages: of the conversation.
        source: of its problem.
        curriculum: words that name no entity.
    """

    def __init__(
        self, messages: Sequence[Mapping[str, str]], source: str, curriculum: Curriculum
    ) -> None:
        self._messages, self._procedural = messages, source.startswith(PROCEDURAL)
        self._facts, self._size, self._read = PromptFacts(curriculum), PromptSize(), 0

    def before(self, number: int) -> Asked:
        """What message `number` answers; numbers only grow from call to call."""
        for message in self._messages[self._read : number]:
            if message["role"] != "assistant":
                self._facts.extend(message["content"])
        self._read = max(self._read, number)
        if self._procedural:
            return Asked(worked=True, numeric=True, asks=True, unknown=False, recall=False)
        return asked(self._facts, self._size)

    def gives(self, words: str) -> bool:
        """Whether the prompt, as far as it was read, has all these words and numbers."""
        keys = [stem(word) for word in _PARTS.findall(words.lower())]
        return bool(keys) and all(
            self._facts.contains(key) if key.isdigit() else key in self._facts.words for key in keys
        )
