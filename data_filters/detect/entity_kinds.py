"""What kind of thing a name names: person, place, organisation or title, by its own words and the
words around it.
"""

import re

from data_filters.detect.gazetteer import Gazetteer
from data_filters.text.lexicon import is_ordinary
from data_filters.text.stem import stem
from recipes.vocabulary import Kind

_ORGANISATION = re.compile(
    r"\b(?:Inc|Ltd|LLC|PLC|plc|GmbH|AG|KG|AB|Oy|Oyj|NV|BV|SpA|SARL|SA|Corp|Co|Industries|Group|Holdings?|University|College|Institute|School|"
    r"Academy|Museum|Ministry|Department|Bank|Foundation|Society|Association|Union|Federation|League|Council|Committee|Agency|Press|"
    r"Airlines|Airways|Brothers|Sons|Partners|United|Radio|Orchestra|Party|Church|Company|Laborator(?:y|ies)|Centre|Center)\b|&|\b[A-Z]{2,5}$|[a-z][A-Z]"
)
_PLACE = re.compile(
    r"\b(?:Lake|Mount|River|Bay|Islands?|Isle|Valley|Port|Cape|Gulf|Sea|Ocean|Mountains?|Hills?|Forest|Desert|Street|Road|Avenue|Square|Park|County|"
    r"Province|Republic|Kingdom|Saint-)\b|-on-|ville$"
)
_PERSON = re.compile(
    r"^(?:Dr|Mr|Mrs|Ms|Prof|Sir|Lady|Lord|Dame|Queen|King|Prince|Princess|Pope)\b|\b[A-Z]\.|\b(?:van|von|de|bin|ibn)\s|\bJr\b|\b[OD]['\u2019][A-Z]"
)
_TITLE = re.compile(r"^(?:The|A|An|On|Of)\s|\s(?:of|the|in|for|a|without)\s")
_WHERE = re.compile(r"\b(?:in|at|near|from|to|between|around|through|towards?|off|of)\s$")


_YEAR = re.compile(r"(?:1\d{3}|20\d\d)")
_TIME = re.compile(r"\b(?:from|to|between|and|until|by|or|of)\s$|\d{4}[\u2013-]$|[,(]\s?$")


def is_year(text: str, start: int, end: int) -> bool:
    """Whether a plain number reads like a year: four figures behind a word such as "from"."""
    return (
        _YEAR.fullmatch(text, start, end) is not None
        and _TIME.search(text, max(0, start - 10), start) is not None
    )


def kind_of(text: str, start: int, end: int, gazetteer: Gazetteer) -> str:
    """person, place, organisation, title, or name where nothing tells; a guess, for reports and for
    actions by kind.
    """
    said = text[start:end]
    words = said.split()
    listed = gazetteer.kind(words)
    if listed:
        return Kind.PLACE if listed == "country" else listed
    for kind, pattern in (
        (Kind.ORGANISATION, _ORGANISATION),
        (Kind.PLACE, _PLACE),
        (Kind.PERSON, _PERSON),
    ):
        if pattern.search(said):
            return kind
    plain = sum(is_ordinary(stem(word)) for word in words if word[0].isupper())
    if _TITLE.search(said) or (len(words) > 1 and plain == len(words)):
        return Kind.TITLE
    if _WHERE.search(text, max(0, start - 10), start):
        return Kind.PLACE
    return Kind.PERSON if len(words) in (2, 3) else Kind.NAME
