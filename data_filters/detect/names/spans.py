"""Where a name begins and ends in a run of its words: cut at what the prompt knows, with titles of
address and company endings; and runs that are headings or terms, no names.
"""

import re
from collections.abc import Iterator, Sequence

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.names.words import HONORIFIC, NUMBERED, TITLES_OF_ADDRESS
from data_filters.detect.reading import Reading
from data_filters.text.lexicon import KIND_WORDS
from data_filters.text.stem import stem
from data_filters.text.tokens import Token
from recipes.vocabulary import Kind

_MAX_WORDS = 12  # of a phrase that is looked for in the prompt
_ENDING = re.compile(
    r"(?:\.?,?\s(?:and|&|e|y|et|und|i|och)\s"
    r"(?:Sons|Co\.?|Partners|Associates|Brothers|Daughters|Company)\b\.?"
    r"|\sand\s[A-Z]\w+(?=\s(?:Ltd|Inc|LLC|PLC|plc)\b)"
    r"|\.?,?\s(?:Inc|Ltd|LLC|LLP|PLC|plc|GmbH|AG|KG|KGaA|OHG|mbH|Co|Corp|AB|Oy|Oyj|NV|BV|N\.V"
    r"|B\.V|SA|SAS|SARL|SpA|SE|S/A|S\.r\.l|s\.r\.o|a\.s|k\.s|v\.o\.s|z\.s|S\.A|S\.L|S\.p\.A"
    r"|S\.A\.S|S\.A\.R\.L|s\.r\.l|ry|S\.C|e\.V|e\.G|Sp\.\sz\so\.o|sp\.\sz\so\.o|sp\.j|p\.l"
    r"|S\.Coop|A\.\u015e|Ltd\.\s\u015eti|Jr|Sr|Ph\.?D|MD|II|III|IV)(?![\w])\.?"
    r"(?:\s&\sCo\.?(?:\sKG|\sKGaA|\sOHG)?)?"
    r"|\s(?:e\sfigli|i\ssyn|et\sFils|s\.c\.|Sp\.[kj]\.|Ltda\.?|Group|Holdings?|-\sME|S/S)(?!\w)"
    r"|\s&\s(?:Co|Cie|Sons|Partner)\b\.?|-on-[A-Z]\w+|\sam\s[A-Z]\w+)+"
)
# of a section; with an article it may be a title
_HEADLINE = re.compile(r"#+\s(?!(?:The|A|An|Of|On|No)\s)")
# a colon, but not the one before a subtitle; or it is said to be a number or a formula
_LABELLED = re.compile(
    r"\**(?::(?!\s(?:A|An|The)\s[A-Z])|\s?="
    r"|\s(?:is|are|equals)\s(?:[A-Za-z]\(|[-$]?\d[\d.,/]*%?(?=\s*$|\.\s|\n)))"
)
# "a Jump Discontinuity", "this Agreement": a term; not "Roses Without a River", nor "A River"
_ONE_OF_MANY = re.compile(
    r"(?:\A|\n|[^\w\s]\s*|\b[a-z][\w'-]*\s)"
    r"(?:an?|[Tt]his|[Ee]ach|[Ee]very|[Aa]ny|[Ss]uch|[Yy]our|[Oo]ur|[Tt]heir|[Ii]ts|[Oo]wn"
    r"|[Aa]nother)\s[*_`\"]*\Z"
)
# what a heading or a bold label says
_TOPIC = re.compile(r"^\s*(?:#+\s|(?:[-*]\s)?\*\*)([^\n*#]+)", re.MULTILINE)
# heads what follows
_BOLD_LINE = re.compile(r"(?:[-*]\s)?\*\*(?!(?:The|A|An|Of|On|No)\s)[^*\n]+\*\*:?[ \t]*\n\s*\S")
_CLOSES = re.compile(r"\s*\Z|\s+[A-Z<\n]|\n")  # behind a period: it ends the sentence
_LEADING = re.compile(
    r"(?:(?<=\s)|(?<=^)|(?<=[\"(*_|]))(?:van|von|de|da|di|del|della|dos|du|ter|ten|le|la|el|al)"
    r"\s(?:(?:der|den|de|la|dem)\s)?$",
    re.IGNORECASE,
)


class NameSpans:
    """Cuts runs of name words into names.

    Args:
        reading: the message.
    """

    def __init__(self, reading: Reading) -> None:
        self._text, self._prompt = reading.text, reading.prompt
        self._curriculum = reading.curriculum
        # stems that the message has in lower case or as a heading
        self._plain = {
            token.key
            for sentence in reading.sentences
            for token in sentence.words
            if not token.name
        }
        topics = _TOPIC.finditer(self._text)
        self._plain.update(stem(topic[1].strip().rstrip(":.")) for topic in topics)

    def cut(self, run: Sequence[Token]) -> Iterator[CandidateSpan]:
        """The longest phrases that stand in the prompt; words between them stay together."""
        if not any(token.name for token in run) or self._is_heading(run) or self._is_term(run):
            return  # an initial alone, or "Final Answer"
        if len(run) == 1:
            yield self._name(run, given=run[0].key in self._prompt.words)
            return
        place, unknown = 0, -1
        while place < len(run):
            size = self._given_words(run[place : place + _MAX_WORDS])
            if size:
                before = run[unknown:place] if unknown >= 0 else ()
                if any(map(self._says_something, before)) and not _is_address(before):
                    yield self._name(run[unknown:place])
                if self._is_another(before, run[place : place + size]):
                    yield self._name(run[unknown : place + size])
                else:
                    yield self._name(run[place : place + size], given=True)
                unknown = -1
            elif unknown < 0:
                unknown = place
            place += size or 1
        rest = run[unknown:]
        ordinary = self._curriculum.ordinary
        if unknown == 0 or (
            unknown > 0 and any(token.name and token.key not in ordinary for token in rest)
        ):
            yield self._name(rest)

    def _given_words(self, words: Sequence[Token]) -> int:
        """How many of the words, from the first on, stand in the prompt as a phrase; 0 for those
        that name nobody alone: "van", "Sir", "Bay".
        """
        if words[0].key not in self._prompt.words:
            return 0
        keys = [token.key for token in words]
        sizes = range(len(words), 0, -1)
        has_phrase = self._prompt.statements.has_phrase
        size = next((size for size in sizes if has_phrase(keys[:size])), 0)
        nobody = all(not token.name or token.text.lower() in KIND_WORDS for token in words[:size])
        return 0 if nobody else size

    def _is_another(self, before: Sequence[Token], given: Sequence[Token]) -> bool:
        """ "North Pole" where the prompt has the South Pole: another thing of that kind."""
        curriculum = self._curriculum
        return (
            bool(before)
            and not before[0].first  # "Empty Jug A" is a command
            and all(word.name and word.key in curriculum.epithets for word in before)
            and all(word.ordinary and self._prompt.names(word.key) for word in given)
            and before[-1].key not in self._prompt.words
        )

    def _says_something(self, token: Token) -> bool:
        return token.name and not self._curriculum.knows(token.key)

    def _is_heading(self, run: Sequence[Token]) -> bool:
        """Plain words in title case that head a line or a paragraph: "### Relative Speed", "Major
        Premise: ...", "Final Answer"; or that name a tool of thought: "the Initial Velocity".

        With an article that is capitalised inside a sentence ("The Letter") tools of thought are a
        title.
        """
        text, curriculum = self._text, self._curriculum
        line = text.rfind("\n", 0, run[0].start) + 1
        heads = (
            _HEADLINE.match(text, line)
            or _BOLD_LINE.match(text, line)
            or _LABELLED.match(text, run[-1].end)
        )
        if (heads or run[-1].key in curriculum.terms) and self._is_plain(run):
            return True
        if run[0].text in ("The", "A", "An") and not run[0].first:
            return False
        return all(
            token.key in curriculum.ordinary and token.key not in curriculum.epithets
            for token in run
        )

    def _is_term(self, run: Sequence[Token]) -> bool:
        """Ordinary words that name a thing of this text: one that stands in lower case or as a
        heading too ("the Centre"), one that is cried out ("NEVER"), one of many ("a Greedy
        Approach"), or a blank to be filled in ("[Your Address]").
        """
        if not self._is_plain(run):
            return False
        text, start, end = self._text, run[0].start, run[-1].end
        if len(run) == 1:
            key, cried = run[0].key, run[0].text.isupper() and end - start > 3
            plain = key in self._plain or key in self._prompt.lowercase
            if cried or (plain and not self._prompt.names(key)):
                return True
        blank = text[start - 1 : start] == "[" and text[end : end + 1] == "]"
        if blank and text[end + 1 : end + 2] != "(":
            return True
        return _ONE_OF_MANY.search(text, max(0, start - 40), start) is not None

    def _is_plain(self, run: Sequence[Token]) -> bool:
        return all(token.ordinary or self._curriculum.knows(token.key) for token in run)

    def _name(self, words: Sequence[Token], given: bool = False) -> CandidateSpan:
        """The span of a name, without particles at its ends, with titles of address before it and a
        company ending behind; "Island 4" where the prompt has no island.

        Args:
            given: the prompt has these words as they stand.
        """
        text, first, last = self._text, 0, len(words) - 1
        while first < last and words[first].text[0].islower():
            first += 1
        while last > first and words[last].text[0].islower():
            last -= 1
        start, end = words[first].start, words[last].end
        if words[last].text.endswith(("'s", "\u2019s")):
            return CandidateSpan(start, end - 2, Kind.NAME, "names")
        ending = _ENDING.match(text, end)
        if ending is None and not given and all(word.ordinary for word in words):
            ending = NUMBERED.match(text, end)
        if ending:
            end = ending.end()
            end -= text[end - 1] == "." and _CLOSES.match(text, end) is not None
        if given:
            return CandidateSpan(start, end, Kind.NAME, "names")
        before = _LEADING.search(text, max(0, start - 10), start) or HONORIFIC.search(
            text, max(0, start - 12), start
        )
        if before:
            honour = HONORIFIC.search(text, max(0, before.start() - 12), before.start())
            start = (honour or before).start()
        return CandidateSpan(start, end, Kind.NAME, "names")


def _is_address(words: Sequence[Token]) -> bool:
    """Whether words before a given name are titles of address: "President", "Captain"."""
    return all(not word.name or word.key in TITLES_OF_ADDRESS for word in words)
