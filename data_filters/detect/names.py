"""Names in a text: runs of capitalised words, with their initials, particles and company
endings.
"""

import re
from collections.abc import Container, Iterator, Sequence

from data_filters.detect.candidates import Found
from data_filters.detect.gazetteer import Gazetteer
from data_filters.text.curriculum import Curriculum
from data_filters.text.lexicon import KIND_WORDS, is_ordinary
from data_filters.text.prompts import Told
from data_filters.text.stem import stem
from data_filters.text.tokens import Sentence, Token
from recipes.vocabulary import Kind

SHORT_ANSWER_WORDS = 4
_MAX_WORDS = 12  # of a phrase that is looked for in the prompt
_COPULAS = frozenset("is was are were".split())
_PARTICLES = (
    "van|von|der|den|dem|de|del|della|delle|di|da|das|do|dos|du|des|la|le|les|el|al|ter|ten|zu|zum|zur|am|an|im|auf|bei|sur|sous|y|e|bin|"
    "ibn|ul|na|nad|ob|i|og|och|upon|of|of\\sthe|in\\sder"
)
_BETWEEN = re.compile(
    rf"\s|\.\s?|-|\s?&\s|\.?\s(?:(?:{_PARTICLES})\s){{1,3}}|\s(?:l|d|dell)['\u2019]|\s[A-Z][a-z]+\s(?:(?:a|an|the|in|on|of|for|to)\s)?(?:the\s)?"
)
_ENDING = re.compile(
    r"(?:\.?,?\s(?:and|&|e|y|et|und|i|och)\s(?:Sons|Co\.?|Partners|Associates|Brothers|Daughters|Company)\b\.?"
    r"|\sand\s[A-Z]\w+(?=\s(?:Ltd|Inc|LLC|PLC|plc)\b)"
    r"|\.?,?\s(?:Inc|Ltd|LLC|LLP|PLC|plc|GmbH|AG|KG|KGaA|OHG|mbH|Co|Corp|AB|Oy|Oyj|NV|BV|N\.V|B\.V|SA|SAS|SARL|SpA|SE|S/A|S\.r\.l|s\.r\.o|a\.s|k\.s"
    r"|v\.o\.s|z\.s|S\.A|S\.L|S\.p\.A|S\.A\.S|S\.A\.R\.L|s\.r\.l|ry|S\.C|e\.V|e\.G|Sp\.\sz\so\.o|sp\.\sz\so\.o|sp\.j|p\.l|S\.Coop|A\.\u015e|Ltd\.\s\u015eti|Jr|Sr|"
    r"Ph\.?D|MD|II|III|IV)(?![\w])\.?(?:\s&\sCo\.?(?:\sKG|\sKGaA|\sOHG)?)?"
    r"|\s(?:e\sfigli|i\ssyn|et\sFils|s\.c\.|Sp\.[kj]\.|Ltda\.?|Group|Holdings?|-\sME|S/S)(?!\w)"
    r"|\s&\s(?:Co|Cie|Sons|Partner)\b\.?|-on-[A-Z]\w+|\sam\s[A-Z]\w+)+"
)
# of a section; with an article it may be a title
_HEADLINE = re.compile(r"#+\s(?!(?:The|A|An|Of|On|No)\s)")
# a colon, but not the one before a subtitle; or it is said to be a number or a formula
_LABELLED = re.compile(
    r"\**(?::(?!\s(?:A|An|The)\s[A-Z])|\s?=|\s(?:is|are|equals)\s(?:[A-Za-z]\(|[-$]?\d[\d.,/]*%?(?=\s*$|\.\s|\n)))"
)
# "a Jump Discontinuity", "this Agreement": a term; not "Roses Without a River", nor "A River"
_ONE_OF_MANY = re.compile(
    r"(?:\A|\n|[^\w\s]\s*|\b[a-z][\w'-]*\s)(?:an?|[Tt]his|[Ee]ach|[Ee]very|[Aa]ny|[Ss]uch|[Yy]our|[Oo]ur|[Tt]heir|[Ii]ts|[Oo]wn|[Aa]nother)"
    r"\s[*_`\"]*\Z"
)
# what a heading or a bold label says
_TOPIC = re.compile(r"^\s*(?:#+\s|(?:[-*]\s)?\*\*)([^\n*#]+)", re.MULTILINE)
_QUOTES = ('"', "\u201c")
# heads what follows
_BOLD_LINE = re.compile(r"(?:[-*]\s)?\*\*(?!(?:The|A|An|Of|On|No)\s)[^*\n]+\*\*:?[ \t]*\n\s*\S")
_CLOSES = re.compile(r"\s*\Z|\s+[A-Z<\n]|\n")  # behind a period: it ends the sentence
_NUMBERED = re.compile(r"\s\d{1,3}(?![\w.,:/%]\w|\w|\s[\d+*/=-])")
_HONORIFIC = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|Sir|Lady|Lord|Dame|Queen|King|Prince|Princess|Pope|Saint|St)\.?\s)+$"
)
_LEADING = re.compile(
    r"(?:(?<=\s)|(?<=^)|(?<=[\"(*_|]))(?:van|von|de|da|di|del|della|dos|du|ter|ten|le|la|el|al)\s(?:(?:der|den|de|la|dem)\s)?$",
    re.IGNORECASE,
)
_CLOSED = frozenset("monday tuesday wednesday thursday friday saturday sunday".split())
_SMALL = frozenset("a an and of the in on for to with without at".split())
_FOREIGN = frozenset("van von de del della di da dos du des ter ten bin ibn".split())
_HEADS = frozenset(  # stems of ordinary words that open a name before "of"
    "bank university isle island museum ministry institute house church cathedral battle siege treaty kingdom republic duke duches "
    "king queen prince "
    "princes earl bishop archbishop gulf cape strait bay port city society association academy college school department council "
    "library archive "
    "union federation league order office center centre agency board court state united school".split()
)


def find_names(
    text: str,
    sentences: Sequence[Sentence],
    told: Told,
    curriculum: Curriculum,
    gazetteer: Gazetteer,
) -> Iterator[Found]:
    """Runs of names, cut where the prompt knows parts of them."""
    known = _evidence(text, sentences, told, curriculum)
    plain = told.lowercase.union(
        token.key for sentence in sentences for token in sentence.words if not token.name
    )
    plain = (
        plain.union(stem(topic[1].strip().rstrip(":.")) for topic in _TOPIC.finditer(text))
        - told.entities
    )
    for sentence in sentences:
        if not sentence.names:
            continue
        words = sentence.words
        capitals = [
            place for place, token in enumerate(words) if token.name or token.text.isupper()
        ]
        counting = [
            place
            for place in capitals
            if _counts(text, words, place, known, told, curriculum, gazetteer)
        ]
        run: list[int] = []
        for place in counting:
            if run and not _joined(text, words, run[-1], place, curriculum):
                yield from _pieces(text, words, run, told, curriculum, plain)
                run = []
            run.append(place)
        if run:
            yield from _pieces(text, words, run, told, curriculum, plain)


def _joined(text: str, words: list[Token], one: int, other: int, curriculum: Curriculum) -> bool:
    """Whether two words that count are parts of one name; a tool of thought counts only as part of
    one, so small words do not part them.
    """
    between = text[words[one].end : words[other].start]
    if _BETWEEN.fullmatch(between):
        # not "Ida Wells of Oslo"
        return " of " not in between or words[one].key in _HEADS or is_ordinary(words[other].key)
    title_case = curriculum.knows(words[other].key) or (
        is_ordinary(words[one].key) and is_ordinary(words[other].key)
    )
    title_case = title_case and words[other].text.lower() not in KIND_WORDS
    return (
        title_case
        and between[:1] == between[-1:] == " "
        and all(word in _SMALL for word in between.split())
    )


def _evidence(
    text: str, sentences: Sequence[Sentence], told: Told, curriculum: Curriculum
) -> frozenset[str]:
    """Stems that are names beyond doubt: named in the prompt, capitalised inside a sentence, or an
    answer by themselves.
    """
    known = set(told.entities)
    answered = False
    for sentence in sentences:
        names = [token for token in sentence.names if not curriculum.knows(token.key)]
        known.update(token.key for token in names if not _opens(text, token))
        opens = sentence.final and bool(names) and names[0].first
        amid = answered and sentence is not sentences[-1]
        if opens and (
            _stands_alone(sentence, names, curriculum, amid)
            or (not answered and _answers_first(sentence, told))
        ):
            known.add(names[0].key)
        answered = answered or sentence.final
    return frozenset(known)


def _stands_alone(
    sentence: Sentence, names: list[Token], curriculum: Curriculum, amid: bool
) -> bool:
    """ "Oslo.", "Answer: Oslo": no other word but tools of thought; an ordinary word ("Published:
    1957") only if it is all there is, and not amid other sentences of the answer ("Hardly.")."""
    words = sentence.words
    if (len(sentence.tokens) > 1 or amid) and is_ordinary(names[0].key):
        return False
    return len(words) <= SHORT_ANSWER_WORDS and all(
        token in names or curriculum.knows(token.key) for token in words
    )


def _answers_first(sentence: Sentence, told: Told) -> bool:
    """ "Paris is the capital of France.": the answer to a question about a named entity opens the
    final answer.
    """
    words = sentence.words
    plain = all(token.kind != "number" for token in sentence.tokens)
    return bool(told.asked) and plain and len(words) > 1 and words[1].text in _COPULAS


def _counts(
    text: str,
    words: list[Token],
    place: int,
    known: frozenset[str],
    told: Told,
    curriculum: Curriculum,
    gazetteer: Gazetteer,
) -> bool:
    """Whether a capitalised word is part of a name: one that opens a sentence needs evidence,
    another name behind it, or to be no ordinary word.

    "Adding Mara's apples" is no name of two words: the second is told in the prompt and the first
    is not. A curriculum word counts beside another capitalised one only: "New York", "James Brown".
    """
    token = words[place]
    if not token.name:
        return token.end - token.start == 1 and _initial(text, words, place)
    if curriculum.knows(token.key):
        return token.key not in curriculum.proper and _beside_name(text, words, place, curriculum)
    if not _opens(text, token) or token.key in known or token.text.isupper():
        return True
    if token.key in told.lowercase:
        return False
    if not is_ordinary(token.key) or gazetteer.kind((token.text,)) == "country":
        return True
    return _goes_on(text, words, place, told)


def _opens(text: str, token: Token) -> bool:
    """Whether a word is capitalised since it opens a sentence, or, being an ordinary one, since it
    opens a quotation.
    """
    return token.first or (
        text[token.start - 1 : token.start] in _QUOTES and is_ordinary(token.key)
    )


def _beside_name(text: str, words: list[Token], place: int, curriculum: Curriculum) -> bool:
    """A curriculum word in title case: next to another capitalised word, or joined to one by small
    words; never one that opens a sentence by itself."""
    token = words[place]
    before, after = _neighbour(text, words, place, -1), _neighbour(text, words, place, 1)
    if token.first:
        if (
            after is None
            or after is not words[place + 1]
            or after.key in curriculum.proper
            or after.key in curriculum.terms
        ):
            return False
        plain = (
            token.text not in ("The", "A", "An")
            and is_ordinary(after.key)
            and not curriculum.knows(after.key)
        )  # "No Kingdom ...": a plain word is capitalised in titles only
        return plain or token.key not in curriculum.ordinary - curriculum.epithets
    if token.text.isupper():
        return False
    if token.key not in curriculum.ordinary and _NUMBERED.match(text, token.end):
        return True  # "Winter 3"
    if (
        before is not None
        and not (before.first and curriculum.knows(before.key))
        and before.key not in curriculum.proper
    ):
        return True
    if _HONORIFIC.search(text, max(0, token.start - 12), token.start):
        return True
    return (
        after is not None
        and after.key not in curriculum.proper
        and (after is words[place + 1] or is_ordinary(after.key))
    )


def _neighbour(text: str, words: list[Token], place: int, step: int) -> Token | None:
    """The nearest capitalised word on one side, with nothing between but a space, or small words as
    in a title.
    """
    for distance in range(1, 4):
        at = place + step * distance
        if not 0 <= at < len(words):
            return None
        one, other = (words[at], words[at - step]) if step < 0 else (words[at - step], words[at])
        if other.start - one.end != 1 and not (
            len(one.text) == 1 and text[one.end : other.start] == ". "
        ):
            return None
        if words[at].name or (
            words[at].text.isupper() and words[at].text != "I" and not words[at].first
        ):
            return words[at]
        if words[at].text not in _SMALL:
            return None
    return None


def _goes_on(text: str, words: list[Token], place: int, told: Told) -> bool:
    """Whether a name goes on behind an ordinary word that opens a sentence: "Police Chief", "Bank
    of Oslo", "Dawn T. Smith".
    """
    if place + 1 == len(words) or words[place + 1].start - words[place].end != 1:
        return False
    word, following = words[place], words[place + 1]
    if following.name:
        return (
            following.key not in told.words
            and following.key not in _CLOSED
            and not word.text.endswith(("ming", "ning", "ting", "ding", "ling", "king", "ly"))
        )
    if len(following.text) == 1 and following.text.isupper():
        return _initial(text, words, place + 1)
    last = words[place + 2] if place + 2 < len(words) else None
    last = (
        words[place + 3]
        if last is not None and last.text == "the" and place + 3 < len(words)
        else last
    )
    if last is None or not last.name:
        return False
    title_case = (
        following.text in ("the", "a", "and", "in")
        and is_ordinary(last.key)
        and last is words[place + 2]
    )
    return (
        title_case
        or following.text in _FOREIGN
        or (following.text in ("of", "for") and word.key in _HEADS)
    )


def _initial(text: str, words: list[Token], place: int) -> bool:
    """ "J. R. Smith", "Ida B. Wells": a capital with a period before a capitalised word that is no
    ordinary one.
    """
    if text[words[place].end : words[place].end + 1] != "." or place + 1 == len(words):
        return False
    following = words[place + 1]
    if following.start - words[place].end > 2:
        return False
    particle = (
        following.text in _FOREIGN
        and place + 2 < len(words)
        and (words[place + 2].name or words[place + 2].text in _FOREIGN)
    )
    return (
        following.name
        or particle
        or (following.end - following.start == 1 and following.text.isupper())
    )


def _pieces(
    text: str,
    words: list[Token],
    places: list[int],
    told: Told,
    curriculum: Curriculum,
    plain: Container[str],
) -> Iterator[Found]:
    """The run cut into the longest phrases that stand in the prompt; words between them stay
    together.

    Args:
        plain: stems that prompt or text have in lower case or as a heading.
    """
    run = words[places[0] : places[-1] + 1]
    if (
        not any(token.name for token in run)
        or _is_heading(text, run, curriculum)
        or _is_term(text, run, curriculum, plain)
    ):
        return  # an initial alone, or "Final Answer"
    if len(run) == 1:
        yield _name(text, run, told=run[0].key in told.words)
        return
    place, unknown = 0, -1
    while place < len(run):
        size = next(
            (
                n
                for n in range(min(len(run) - place, _MAX_WORDS), 0, -1)
                if told.has_phrase(t.key for t in run[place : place + n])
            ),
            0,
        )
        if size and all(
            not token.name or token.text.lower() in KIND_WORDS
            for token in run[place : place + size]
        ):
            size = 0  # "van", "Sir", "Bay" alone are nobody
        if size:
            if unknown >= 0 and not all(
                curriculum.knows(token.key) or not token.name for token in run[unknown:place]
            ):
                yield _name(text, run[unknown:place])
            yield _name(text, run[place : place + size], told=True)
            unknown = -1
        elif unknown < 0:
            unknown = place
        place += size or 1
    if unknown >= 0 and not (
        unknown
        and all(token.key in curriculum.ordinary or not token.name for token in run[unknown:])
    ):
        yield _name(text, run[unknown:])


def _is_heading(text: str, run: list[Token], curriculum: Curriculum) -> bool:
    """Plain words in title case that head a line or a paragraph: "### Relative Speed", "Major
    Premise: ...", "Final Answer"; or that name a tool of thought: "the Initial Velocity".

    With an article that is capitalised inside a sentence ("The Letter") tools of thought are a
    title.
    """
    line = text.rfind("\n", 0, run[0].start) + 1
    heads = (
        _HEADLINE.match(text, line)
        or _BOLD_LINE.match(text, line)
        or _LABELLED.match(text, run[-1].end)
    )
    if (heads or run[-1].key in curriculum.terms) and all(
        is_ordinary(token.key) or curriculum.knows(token.key) for token in run
    ):
        return True
    if run[0].text in ("The", "A", "An") and not run[0].first:
        return False
    return all(
        token.key in curriculum.ordinary and token.key not in curriculum.epithets for token in run
    )


def _is_term(text: str, run: list[Token], curriculum: Curriculum, plain: Container[str]) -> bool:
    """Ordinary words that name a thing of this text: one that stands in lower case or as a heading
    too ("the Centre"), one that is cried out ("NEVER"), one of many ("a Greedy Approach"), or a
    blank to be filled in ("[Your Address]")."""
    if not all(is_ordinary(token.key) or curriculum.knows(token.key) for token in run):
        return False
    start, end = run[0].start, run[-1].end
    if len(run) == 1 and (run[0].key in plain or (run[0].text.isupper() and end - start > 3)):
        return True
    blank = (
        text[start - 1 : start] == "["
        and text[end : end + 1] == "]"
        and text[end + 1 : end + 2] != "("
    )
    return blank or _ONE_OF_MANY.search(text, max(0, start - 40), start) is not None


def _name(text: str, words: Sequence[Token], told: bool = False) -> Found:
    """The span of a run, without particles at its ends, with titles of address before it and a
    company ending behind; "Island 4" where the prompt has no island."""
    first, last = 0, len(words) - 1
    while first < last and words[first].text[0].islower():
        first += 1
    while last > first and words[last].text[0].islower():
        last -= 1
    start, end = words[first].start, words[last].end
    if words[last].text.endswith(("'s", "\u2019s")):
        return Found(start, end - 2, Kind.NAME, "names")
    ending = _ENDING.match(text, end) or (
        _NUMBERED.match(text, end)
        if not told and all(is_ordinary(word.key) for word in words)
        else None
    )
    if ending:
        end = ending.end()
        end -= text[end - 1] == "." and _CLOSES.match(text, end) is not None
    before = _LEADING.search(text, max(0, start - 10), start) or _HONORIFIC.search(
        text, max(0, start - 12), start
    )
    honour = (
        _HONORIFIC.search(text, max(0, before.start() - 12), before.start()) or before
        if before
        else None
    )
    return Found(honour.start() if honour else start, end, Kind.NAME, "names")
