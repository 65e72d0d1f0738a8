"""Which capitalised words of a message are parts of a name."""

import re
from collections.abc import Sequence

from data_filters.detect.reading import Reading
from data_filters.text.lexicon import KIND_WORDS
from data_filters.text.tokens import Sentence, Token

SHORT_ANSWER_WORDS = 4
FOREIGN = frozenset("van von de del della di da dos du des ter ten bin ibn".split())
HONORIFIC = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|Sir|Lady|Lord|Dame|Queen|King|Prince|Princess|Pope|Saint|St)\.?\s)+$"
)
TITLES_OF_ADDRESS = frozenset(  # stems
    "dr mr mrs ms miss mx prof sir madam lady lord dame queen king prince princess pope saint st doctor professor president "
    "captain colonel general major sergeant lieutenant admiral commander judge justice senator "
    "congressman governor mayor minister chancellor secretary ambassador bishop cardinal father "
    "sister brother rabbi imam sheikh emperor empress duke duches count countes baron baroness earl "
    "coach detective inspector officer chief nurse reverend uncle aunt grandma grandpa".split()
)
NUMBERED = re.compile(r"\s\d{1,3}(?![\w.,:/%]\w|\w|\s[\d+*/=-])")
_COPULAS = frozenset("is was are were".split())
_QUOTES = ('"', "\u201c")
_WEEKDAYS = frozenset("monday tuesday wednesday thursday friday saturday sunday".split())
_SMALL = frozenset("a an and of the in on for to with without at".split())
_HEADS = frozenset(  # stems of ordinary words that open a name before "of"
    "bank university isle island museum ministry institute house church cathedral battle siege "
    "treaty kingdom republic duke duches king queen prince princes earl bishop archbishop gulf "
    "cape strait bay port city society association academy college school department council "
    "library archive union federation league order office center centre agency board court state "
    "united school".split()
)
_PARTICLES = (
    "van|von|der|den|dem|de|del|della|delle|di|da|das|do|dos|du|des|la|le|les|el|al|ter|ten|zu|zum|"
    r"zur|am|an|im|auf|bei|sur|sous|y|e|bin|ibn|ul|na|nad|ob|i|og|och|upon|of|of\sthe|in\sder"
)
_BETWEEN = re.compile(
    rf"\s|\.\s?|-|\s?&\s|\.?\s(?:(?:{_PARTICLES})\s){{1,3}}|\s(?:l|d|dell)['\u2019]"
    r"|\s[A-Z][a-z]+\s(?:(?:a|an|the|in|on|of|for|to)\s)?(?:the\s)?"
)


class NameWords:
    """Tells which capitalised words of a message are parts of a name.

    Args:
        reading: the message.
    """

    def __init__(self, reading: Reading) -> None:
        self._text, self._prompt = reading.text, reading.prompt
        self._curriculum, self._gazetteer = reading.curriculum, reading.gazetteer
        self._is_symbol = reading.notation.is_symbol
        self._evident = self._evidence(reading.sentences)

    def runs(self, sentence: Sentence) -> list[list[Token]]:
        """The words of each name or row of names of a sentence, with the small words between."""
        words = sentence.words
        runs: list[list[int]] = []
        for place, token in enumerate(words):
            if not (token.name or token.text.isupper()) or not self._counts(words, place):
                continue
            if self._is_symbol(token.text, token.start):
                continue
            if runs and self._joined(words, runs[-1][-1], place):
                runs[-1].append(place)
            else:
                runs.append([place])
        return [words[run[0] : run[-1] + 1] for run in runs]

    def _evidence(self, sentences: Sequence[Sentence]) -> frozenset[str]:
        """Stems that are names beyond doubt: capitalised inside a sentence, or an answer by
        themselves.
        """
        evident: set[str] = set()
        answered = False
        for sentence in sentences:
            names = [token for token in sentence.names if not self._curriculum.knows(token.key)]
            evident.update(
                token.key
                for token in names
                if not self._opens(token) and not self._is_symbol(token.text, token.start)
            )
            opens = sentence.final and bool(names) and names[0].first
            amid = answered and sentence is not sentences[-1]
            if opens and (
                self._stands_alone(sentence, names, amid)
                or (not answered and self._answers_first(sentence))
            ):
                evident.add(names[0].key)
            answered = answered or sentence.final
        return frozenset(evident)

    def _stands_alone(self, sentence: Sentence, names: list[Token], amid: bool) -> bool:
        """ "Oslo.", "Answer: Oslo": no other word but tools of thought; an ordinary word
        ("Published: 1957") only if it is all there is, and not amid other sentences of the answer
        ("Hardly.").
        """
        words = sentence.words
        if (len(sentence.tokens) > 1 or amid) and names[0].ordinary:
            return False
        return len(words) <= SHORT_ANSWER_WORDS and all(
            token in names or self._curriculum.knows(token.key) for token in words
        )

    def _answers_first(self, sentence: Sentence) -> bool:
        """ "Paris is the capital of France.": the answer to a question about a named entity opens
        the final answer.
        """
        words = sentence.words
        plain = all(token.kind != "number" for token in sentence.tokens)
        asked = bool(self._prompt.asked)
        return asked and plain and len(words) > 1 and words[1].text in _COPULAS

    def _counts(self, words: list[Token], place: int) -> bool:
        """Whether a capitalised word is part of a name: one that opens a sentence needs evidence,
        another name behind it, or to be no ordinary word.

        "Adding Mara's apples" is no name of two words: the prompt has the second and not the
        first. A curriculum word counts beside another capitalised one only: "New York", "James
        Brown".
        """
        token = words[place]
        if not token.name:
            return token.end - token.start == 1 and self._initial(words, place)
        if self._curriculum.knows(token.key):
            return token.key not in self._curriculum.proper and self._beside_name(words, place)
        if not self._opens(token) or token.text.isupper():
            return True
        if token.key in self._evident or self._prompt.names(token.key):
            return True
        if token.key in self._prompt.lowercase:
            return False
        if not token.ordinary or self._gazetteer.kind((token.text,)) == "country":
            return True
        return self._goes_on(words, place)

    def _opens(self, token: Token) -> bool:
        """Whether a word is capitalised since it opens a sentence, or, being an ordinary one, since
        it opens a quotation.
        """
        return token.first or (
            self._text[token.start - 1 : token.start] in _QUOTES and token.ordinary
        )

    def _beside_name(self, words: list[Token], place: int) -> bool:
        """A curriculum word in title case: next to another capitalised word, or joined to one by
        small words; never one that opens a sentence by itself.
        """
        token, curriculum = words[place], self._curriculum
        before, after = self._neighbour(words, place, -1), self._neighbour(words, place, 1)
        directly = after is not None and after is words[place + 1]
        if token.first:
            return after is not None and directly and self._opens_name(token, after)
        if token.text.isupper():
            return False
        if token.key not in curriculum.ordinary and NUMBERED.match(self._text, token.end):
            return True  # "Winter 3"
        if (
            before is not None
            and not (before.first and curriculum.knows(before.key))
            and before.key not in curriculum.proper
        ):
            return True
        if HONORIFIC.search(self._text, max(0, token.start - 12), token.start):
            return True
        return (
            after is not None
            and after.key not in curriculum.proper
            and (directly or after.ordinary)
        )

    def _opens_name(self, token: Token, after: Token) -> bool:
        """Whether a curriculum word that opens a sentence belongs to the capitalised word behind
        it.
        """
        curriculum = self._curriculum
        if after.key in curriculum.proper or after.key in curriculum.terms:
            return False
        # "No Kingdom ...": a plain word is capitalised in titles only
        plain = (
            token.text not in ("The", "A", "An")
            and after.ordinary
            and not curriculum.knows(after.key)
        )
        return plain or token.key not in curriculum.ordinary - curriculum.epithets

    def _neighbour(self, words: list[Token], place: int, step: int) -> Token | None:
        """The nearest capitalised word on one side, with nothing between but a space, or small
        words as in a title.
        """
        for distance in range(1, 4):
            at = place + step * distance
            if not 0 <= at < len(words):
                return None
            word, inner = words[at], words[at - step]
            one, other = (word, inner) if step < 0 else (inner, word)
            if other.start - one.end != 1 and not (
                len(one.text) == 1 and self._text[one.end : other.start] == ". "
            ):
                return None
            if word.name or (word.text.isupper() and word.text != "I" and not word.first):
                return word
            if word.text not in _SMALL:
                return None
        return None

    def _goes_on(self, words: list[Token], place: int) -> bool:
        """Whether a name goes on behind an ordinary word that opens a sentence: "Police Chief",
        "Bank of Oslo", "Dawn T. Smith".
        """
        if place + 1 == len(words) or words[place + 1].start - words[place].end != 1:
            return False
        word, following = words[place], words[place + 1]
        if following.name:
            return (
                following.key not in self._prompt.words
                and following.key not in _WEEKDAYS
                and not word.text.endswith(("ming", "ning", "ting", "ding", "ling", "king", "ly"))
            )
        if len(following.text) == 1 and following.text.isupper():
            return self._initial(words, place + 1)
        last = words[place + 2] if place + 2 < len(words) else None
        if last is not None and last.text == "the" and place + 3 < len(words):
            last = words[place + 3]
        if last is None or not last.name:
            return False
        title_case = (
            following.text in ("the", "a", "and", "in")
            and last.ordinary
            and last is words[place + 2]
        )
        of_name = following.text in ("of", "for") and word.key in _HEADS
        return title_case or following.text in FOREIGN or of_name

    def _initial(self, words: list[Token], place: int) -> bool:
        """ "J. R. Smith", "Ida B. Wells": a capital with a period before a capitalised word that is
        no ordinary one.
        """
        end = words[place].end
        if self._text[end : end + 1] != "." or place + 1 == len(words):
            return False
        following = words[place + 1]
        if following.start - end > 2:
            return False
        particle = (
            following.text in FOREIGN
            and place + 2 < len(words)
            and (words[place + 2].name or words[place + 2].text in FOREIGN)
        )
        one_letter = following.end - following.start == 1 and following.text.isupper()
        return following.name or particle or one_letter

    def _joined(self, words: list[Token], one: int, other: int) -> bool:
        """Whether two words that count are parts of one name; a tool of thought counts only as part
        of one, so small words do not part them.
        """
        between = self._text[words[one].end : words[other].start]
        if _BETWEEN.fullmatch(between):
            # not "Ida Wells of Oslo"
            return " of " not in between or words[one].key in _HEADS or words[other].ordinary
        title_case = self._curriculum.knows(words[other].key) or (
            words[one].ordinary and words[other].ordinary
        )
        return (
            title_case
            and words[other].text.lower() not in KIND_WORDS
            and between[:1] == between[-1:] == " "
            and all(word in _SMALL for word in between.split())
        )
