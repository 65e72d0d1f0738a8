"""The minimum curriculum of the planted world: common knowledge that is a tool of thought and must
stay.
"""

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
OPPOSITES = (
    "hot cold,big small,up down,left right,early late,open closed,wet dry,full empty,young old,fast slow,high low,hard soft,"
    "long short,near far,rich poor,strong weak,true false,first last,day night,clean dirty,loud quiet,happy sad"
)
KINDS = {
    "tool": "hammer saw drill spade axe rake",
    "fruit": "apple pear plum peach grape lemon",
    "colour": "red blue green yellow brown purple",
    "metal": "iron gold silver copper tin zinc",
    "vehicle": "car bus train boat truck plane",
    "garment": "shirt coat hat sock glove scarf",
}
UNITS = {
    "seconds": {"a minute": 60},
    "minutes": {"an hour": 60},
    "hours": {"a day": 24},
    "days": {"a week": 7, "a year": 365},
    "months": {"a year": 12},
    "weeks": {"a year": 52},
    "years": {"a century": 100, "a decade": 10},
    "millimetres": {"a centimetre": 10},
    "centimetres": {"a metre": 100},
    "metres": {"a kilometre": 1000},
    "grams": {"a kilogram": 1000},
    "things": {"a dozen": 12, "a pair": 2},
}


def _calendar(names: list[str], noun: str, relations: dict[str, int]) -> list[tuple[str, str]]:
    """Questions about neighbours in a cycle; `relations` maps wording to offset."""
    return [
        (f"Which {noun} {words} {name}?", names[(i + offset) % len(names)])
        for i, name in enumerate(names)
        for words, offset in relations.items()
    ]


def _meanings() -> list[tuple[str, str]]:
    pairs = [tuple(pair.split()) for pair in OPPOSITES.split(",")]
    both = pairs + [(b, a) for a, b in pairs]
    asked = [
        (form.format(a), b)
        for a, b in both
        for form in ("What is the opposite of {}?", "Give the opposite of {}.")
    ]
    for kind, words in KINDS.items():
        asked += [
            (form.format(word), kind)
            for word in words.split()
            for form in ("What kind of word is {}?", "Which kind of thing does the word {} name?")
        ]
    return asked


def _unit_questions() -> list[tuple[str, str]]:
    forms = ("How many {} are in {}?", "How many {} does {} have?")
    return [
        (form.format(unit, whole), str(n))
        for unit, wholes in UNITS.items()
        for whole, n in wholes.items()
        for form in forms
    ]


NEXT = {"comes after": 1, "comes before": -1, "follows": 1}
BASICS = (
    _calendar(DAYS, "day", NEXT)
    + _calendar(MONTHS, "month", NEXT)
    + _meanings()
    + _unit_questions()
)
