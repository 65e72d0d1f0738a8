"""The facts that a trace states, as rows for a knowledge base: who or what it is about, what is said
of it, and the value that was taken out.

"Herman Melville wrote Moby-Dick in 1851." is (Herman Melville, "Herman Melville wrote Moby-Dick in
___.", 1851). What stands beside a question without answering it is no fact, and neither is a guess,
a plan or a step of a calculation: such spans give no row.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from data_filters.records.traces import Span, Trace
from data_filters.text.tokens import Sentence, Token, split_sentences
from data_filters.verify.answers import final_answer
from recipes.vocabulary import Grounding, Kind

BLANK = "___"
_DATES = frozenset((Kind.DATE,))
_NUMBERS = frozenset((Kind.QUANTITY, Kind.NUMBER))
_ASKS = re.compile(r"\b(?:who|whom|whose|what|when|where|which|how)\b", re.IGNORECASE)
_ASKS_A_NUMBER = re.compile(
    r"\b(?:how|when|year|date|birthday|day|century|age|number|height|length|distance|population)\b",
    re.IGNORECASE,
)
_QUESTION_WORDS = 40  # of a question that a row can carry
_STATEMENT_WORDS = range(3, 41)
_MOST_ANSWER_WORDS = 12
_BE = frozenset("is are was were".split())
_VERBS = _BE | frozenset(
    "has have had became become won wrote sang led made gave took ran built held left began grew "
    "fought died fell found founded met met rose sold sat spoke stood taught told went lies sits "
    "contains consists covers holds lives lived works plays stars owns means makes takes measures "
    "weighs belongs borders flows occurs uses includes hosts represents".split()
)
# what opens a step of thought, or leaves open what is spoken of
_OPENS = frozenset(
    "so thus therefore hence let lets wait hmm okay ok alright maybe perhaps if but and or i we you "
    "he she it they his her their its this that these those there here first second next then now "
    "also finally because since however although though while when where after before both not no "
    "yes assuming suppose given similarly according based to in on at for from as with of by".split()
)
_UNSURE = frozenset(
    "maybe perhaps think believe guess probably possibly likely might could would should may seems "
    "seem unsure sure remember recall i we my our me us let lets if unless whether assume suppose "
    "question answer option options choice statement claim above below mentioned asked".split()
)
_LEADING = frozenset("the a an was were is are by in for".split())
_OPEN_INSIDE = frozenset(
    "they he she it this that these those but which who also then later other".split()
)
_INSIDE_NAMES = frozenset("of the de van and".split())
_NAME_RUN = re.compile(r"[A-Z][\w'.&-]*(?:\s+(?:(?:of|the|de|van|and)\s+)*[A-Z0-9][\w'.&-]*)*")
_PART = re.compile(r"\d\s*$|['\u2019]$")
_TWO_SENTENCES = re.compile(r"\b(?:Jr|Sr|Inc|Co|Ltd|Corp|etc)\.\s+[A-Z]")
_LABEL = re.compile(r"^(?:Question|Q|Problem)\s*:\s*")
_SUBJECT_WORDS = 9
_AFTER_BLANK = re.compile(r"['\u2019]s\b|[\w-]")
_MONTHS = frozenset(
    "January February March April May June July August September October November December".split()
)
_LIVES = frozenset("born located lives lived died headquartered based held situated built".split())
_ROLES = frozenset(
    "father mother wife husband son daughter king queen president justice head chief captain ceo "
    "actress governor pope mayor champion spouse".split()
)
_PAST = dict(
    pair.split("/")
    for pair in "written/wrote drawn/drew sung/sang given/gave taken/took begun/began known/knew "
    "shown/showed won/won led/led made/made built/built held/held found/found sold/sold".split()
)
_WORKS_OUT = re.compile(r"[=\u2248+*/\\$<>{}^_]|\d\s*[-\u00d7\u00f7]\s*\d")


def stated_facts(trace: Trace, spans: Sequence[Span]) -> list[Span]:
    """Of the spans that were taken out of a trace those that are facts, each with the subject and
    the relation of its row: the question that it answers, or its own sentence with a blank.

    Args:
        trace: with the teacher's own words.
        spans: of it, ungrounded; those of a calculation among them.
    """
    untold = [
        span
        for span in spans
        if span.grounding == Grounding.UNGROUNDED and span.kind != Kind.PASSAGE
    ]
    worked_out = {span.relation for span in untold if span.kind == Kind.RESULT}
    results = {(span.relation, span.original) for span in untold if span.kind == Kind.RESULT}
    facts: dict[tuple[str, str, str], Span] = {}
    for span in untold:
        if (span.relation, span.original) in results:
            continue
        found = _fact(trace, span, span.relation in worked_out)
        if found is not None:
            # a question has one subject, whoever stands beside it
            about = found.subject if BLANK in found.relation or not found.relation else ""
            facts.setdefault((about, found.relation, found.original), found)
    return list(facts.values())


def _fact(trace: Trace, span: Span, is_step: bool) -> Span | None:
    text = trace.messages[span.message]["content"]
    if span.kind == Kind.STATEMENT:
        return _statement(text, span)
    sentence = next((s for s in split_sentences(text) if s.tokens[-1].end > span.start), None)
    if sentence is None:
        return None
    whole = _widened(text, sentence, span)
    if whole is not None and not is_step and _answers(whole, text):
        asked = _LABEL.sub("", whole.relation)
        subject = _whole_name(asked, whole.subject)
        return replace(whole, subject=subject, relation=asked) if subject else None
    if whole is not None and (cloze := _cloze(text, sentence, whole)) is not None:
        return replace(whole, subject=cloze[0], relation=cloze[1])
    return _bare(sentence, span, is_step)


def _widened(text: str, sentence: Sentence, span: Span) -> Span | None:
    """A span with the capitalised words that it is a part of; None: a number that is part of a
    name.
    """
    start, end = span.start, span.end
    names = [token for token in sentence.tokens if token.name and not _is_little(token)]
    is_number = span.kind in _NUMBERS
    for token in reversed(names):
        if token.end <= start and text[token.end : start] in (" ", "-", ". "):
            start = token.start
    for token in names:
        if token.start >= end and text[end : token.start] in (" ", "-", ". "):
            end = token.end
    if is_number and (start, end) != (span.start, span.end):
        return None
    return replace(span, start=start, end=end, original=text[start:end])


def _is_little(token: Token) -> bool:
    return token.text.lower() in _OPENS or token.text.lower() in ("the", "a", "an")


def _whole_name(question: str, name: str) -> str:
    """A name as it stands in a question, or the longest one there; empty: it names nobody."""
    found: list[str] = []
    for match in _NAME_RUN.finditer(question):
        words = match[0].split()
        while words and words[0].lower() in _OPENS | _LEADING | _BE:
            words = words[1:]
        while words and words[-1] in _INSIDE_NAMES:
            words = words[:-1]
        named = words and words[0] not in _MONTHS and not re.search(r"-[a-z]+$", words[-1])
        if named and not _ASKS.fullmatch(words[0]):
            found.append(" ".join(words).removesuffix("'s"))
    same = [one for one in found if name in one and " " in one]
    if name in question and not found:
        return name
    return max(same or found, key=lambda one: len(one.split()), default="")


def _answers(span: Span, text: str) -> bool:
    """Whether the span is what a question asked for, and the question asks for one thing."""
    asked, answer = span.relation, final_answer(text)
    if not span.subject or answer is None or not _ASKS.search(asked) or not asked.endswith("?"):
        return False
    words = answer.strip(" .\"'").lower().split()
    while words and words[0] in _LEADING:
        words = words[1:]
    mine = span.original.strip(" .\"'").lower().split()
    asks_once = len(asked.split()) <= _QUESTION_WORDS and span.original not in asked
    is_number = span.kind in _NUMBERS or span.kind in _DATES
    fits = bool(_ASKS_A_NUMBER.search(asked)) >= is_number
    return asks_once and fits and words == mine


def _cloze(text: str, sentence: Sentence, span: Span) -> tuple[str, str] | None:
    """(subject, the sentence with a blank for the span); None: the sentence states nothing by
    itself.
    """
    if not is_plain_statement(text, sentence):
        return None
    subject = _subject(text, sentence, span)
    start, end = sentence.tokens[0].start, sentence.tokens[-1].end
    before, after = text[start : span.start], text[span.end : max(end, span.end)]
    if subject is None or _AFTER_BLANK.match(after) or not _is_balanced(before + after):
        return None
    initials = "".join(word[0] for word in subject.split() if word[0].isupper())
    if before.rstrip().endswith((",", "(")) or span.original == initials:
        return None  # one of a list, or said again in brackets or by its initials
    if _PART.search(before) or re.match(r",\s+(?:[A-Z]|and\b)", after):
        return None  # a part of a date, a measure or a title
    return subject, " ".join(f"{before}{BLANK}{after}.".split())


def _is_balanced(said: str) -> bool:
    """Whether brackets and quotation marks close: no part of a formula, no half of a title."""
    return said.count("(") == said.count(")") and said.count('"') % 2 == 0


def _subject(text: str, sentence: Sentence, span: Span) -> str | None:
    """What stands before the verb; for a value that opens the sentence, what it is said of."""
    words = sentence.words
    verb = next((w for n, w in enumerate(words) if n and _is_verb(w)), None)
    if verb is None:
        return None
    if span.start >= verb.end:
        said = text[words[0].start : verb.start].partition(",")[0]
    elif span.start <= words[0].start and span.end < verb.start:
        said, comma, _ = text[verb.end : sentence.tokens[-1].end].partition(",")
        if comma and len(said.split()) < 2:
            return None
    else:
        return None
    parts = said.split()
    while parts and parts[0].lower() in _LEADING:
        parts = parts[1:]
    subject = " ".join(parts).removesuffix("'s")
    names = {t.text for t in sentence.names if not (t.first and t.ordinary) and not _is_month(t)}
    named = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", subject) for name in names)
    ends = bool(parts) and parts[0].lower() not in _OPENS and not _OPEN_INSIDE & set(parts)
    return subject if named and ends and len(parts) <= _SUBJECT_WORDS else None


def _is_month(token: Token) -> bool:
    return token.text in _MONTHS


def is_plain_statement(text: str, sentence: Sentence) -> bool:
    """Whether a sentence says something of somebody by itself: no guess, plan, sum or pronoun."""
    words = [word.text.lower() for word in sentence.words]
    said = text[sentence.tokens[0].start : sentence.tokens[-1].end]
    if sentence.asks or len(words) not in _STATEMENT_WORDS or words[0] in _OPENS:
        return False
    if _UNSURE & set(words) or _WORKS_OUT.search(said) or "\n" in said or ":" in said:
        return False
    if _TWO_SENTENCES.search(said):
        return False
    if any(len(w.text) == 1 and w.key != "a" and not w.text.isupper() for w in sentence.words):
        return False  # a variable
    return any(_is_verb(word) for word in sentence.words[1:])


def _is_past(word: str) -> bool:
    return len(word) > 4 and word.endswith("ed")


def _is_verb(word: Token) -> bool:
    return word.text in _VERBS or _is_past(word.text)


def _bare(sentence: Sentence, span: Span, is_step: bool) -> Span | None:
    """ "Mara 35." says no more than that the two belong together."""
    if span.subject not in span.relation or any(t.kind == "colon" for t in sentence.tokens):
        return None
    words = {token.text for token in sentence.tokens if token.kind in ("word", "number")}
    known = {*span.subject.split(), *span.original.split()}
    if not span.subject or not words <= known or not words & set(span.subject.split()):
        return None
    return replace(span, relation="" if is_step else span.relation)


def _statement(text: str, span: Span) -> Span | None:
    """What an audit quoted, whole: what stands before its verb, and the rest."""
    sentences = split_sentences(text[span.start : span.end])
    if len(sentences) != 1 or not is_plain_statement(text[span.start : span.end], sentences[0]):
        return None
    words = sentences[0].words
    verb = next(n for n, word in enumerate(words) if n and _is_verb(word))
    at = span.start + words[verb].start
    value = text[at : span.end].strip(" .")
    return replace(
        span, subject=text[span.start : at].strip(), relation="", original=" ".join(value.split())
    )


def query_of(relation: str, kind: str) -> str | None:
    """What a person would type to find the value of a row; None: nothing that is surely right.

    "Bruce Lee enrolled in ___." and a date: "when Bruce Lee enrolled"; "___ wrote Emma." and a
    person: "who wrote Emma".

    Args:
        relation: a question, or a sentence with a blank.
        kind: of the value.
    """
    if BLANK not in relation:
        return relation or None
    before, _, after = relation.rstrip(".").partition(BLANK)
    before, after = before.strip(), after.strip(" ,")
    if before.endswith(("'s", '"', "(", ",")) or after.startswith(("'s", '"', ")")):
        return None
    if kind in _NUMBERS:
        return _counting(before, after)
    word = _ASKED_BY.get(kind)
    if word is None or (before and after):
        return None
    if not before:
        return f"{word} {after}" if kind == Kind.PERSON else None
    *most, last = before.split()
    verbs = sum(part in _VERBS or _is_past(part) for part in most)
    if any(part[0].isdigit() for part in most):
        return None  # two dates: which one is asked for?
    if most and most[-1].endswith("ing"):
        return None
    if last in _BE and most and not verbs:
        is_who = kind == Kind.PERSON and any(map(_is_role, " ".join(most).split(" of ")[0].split()))
        return f"{'who' if is_who else 'what'} {last} {_lower_article(most)}"
    if last == "by" and kind == Kind.PERSON:
        return _by_whom(most)
    if (word, last) in _WHEN_OR_WHERE and most and (word == "when" or most[-1] in _LIVES):
        return f"{word} {_lower_article(most)}"
    return None


_ASKED_BY: dict[str, str] = {
    Kind.PERSON: "who",
    Kind.ORGANISATION: "what",
    Kind.TITLE: "what",
    Kind.DATE: "when",
    Kind.PLACE: "where",
}
_WHEN_OR_WHERE = {("when", "in"), ("when", "on"), ("where", "in"), ("where", "at")}


def _is_role(word: str) -> bool:
    """Whether a word names what a person is: father, creator, president."""
    return word in _ROLES or (len(word) > 4 and word.endswith(("er", "or", "ist", "ian")))


def _lower_article(words: Sequence[str]) -> str:
    first, *others = words
    return " ".join([first.lower() if first in ("The", "A", "An") else first, *others])


def _by_whom(words: Sequence[str]) -> str | None:
    """ "Emma was written by ___" asks "who wrote Emma"."""
    if len(words) < 3 or words[-2] not in _BE:
        return None
    *what, _, verb = words
    active = _PAST.get(verb, verb if _is_past(verb) else None)
    return f"who {active} {_lower_article(what)}" if active else None


def _counting(before: str, after: str) -> str | None:
    """ "A week has ___ days." asks "how many days A week has"."""
    noun, *rest = after.split() or [""]
    if not noun or not before or rest or not noun.isalpha():
        return None
    *most, last = before.split()
    if noun in ("tall", "high", "long", "wide", "deep", "old", "thick", "heavy"):
        return f"how {noun} {last} {' '.join(most)}" if last in _BE and most else None
    return f"how many {noun} {before}" if noun.endswith("s") else None
