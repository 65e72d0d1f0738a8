"""The minimum curriculum of the planted world: common knowledge that is a tool of thought and must stay."""

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
OPPOSITES = (
    "hot cold,big small,up down,left right,early late,open closed,wet dry,full empty,young old,fast slow,high low,hard soft,"
    "light dark,long short,near far,new used,rich poor,strong weak,true false,first last,day night,thick thin,wide narrow,"
    "clean dirty,loud quiet,happy sad,sweet sour,deep shallow,inside outside,above below,before after,more less,push pull,"
    "start stop,win lose,buy sell,give take,love hate,smooth rough,sharp blunt"
)
KINDS = {
    "tool": "hammer saw drill spade axe rake chisel wrench",
    "fruit": "apple pear plum peach grape lemon mango cherry",
    "colour": "red blue green yellow brown purple orange pink",
    "drink": "water milk tea coffee juice wine beer cocoa",
    "metal": "iron gold silver copper tin zinc lead nickel",
    "vehicle": "car bus train boat truck plane tram bicycle",
    "garment": "shirt coat hat sock glove scarf skirt belt",
    "number": "one two three four five six seven eight",
}
UNITS = {
    "seconds": {"a minute": 60}, "minutes": {"an hour": 60}, "hours": {"a day": 24}, "days": {"a week": 7, "a year": 365},
    "months": {"a year": 12}, "weeks": {"a year": 52}, "years": {"a century": 100, "a decade": 10}, "millimetres": {"a centimetre": 10},
    "centimetres": {"a metre": 100}, "metres": {"a kilometre": 1000}, "grams": {"a kilogram": 1000}, "things": {"a dozen": 12, "a pair": 2},
}  # fmt: skip


def _calendar(names: list[str], noun: str) -> list[tuple[str, str]]:
    asked = []
    for i, name in enumerate(names):
        for words, offset in (("after", 1), ("before", -1), ("two {}s after", 2), ("two {}s before", -2)):
            asked.append((f"Which {noun} comes {words.format(noun)} {name}?", names[(i + offset) % len(names)]))
        asked.append((f"Which {noun} follows {name}?", names[(i + 1) % len(names)]))
    return asked


def _meanings() -> list[tuple[str, str]]:
    pairs = [tuple(pair.split()) for pair in OPPOSITES.split(",")]
    both = pairs + [(b, a) for a, b in pairs]
    asked = [(form.format(a), b) for a, b in both for form in ("What is the opposite of {}?", "Give the opposite of {}.")]
    for kind, words in KINDS.items():
        asked += [
            (form.format(word), kind)
            for word in words.split()
            for form in ("What kind of word is {}?", "Which kind of thing does the word {} name?")
        ]
    return asked


def _unit_questions() -> list[tuple[str, str]]:
    forms = ("How many {} are in {}?", "How many {} does {} have?")
    return [(form.format(unit, whole), str(n)) for unit, wholes in UNITS.items() for whole, n in wholes.items() for form in forms]


BASICS = _calendar(DAYS, "day") + _calendar(MONTHS, "month") + _meanings() + _unit_questions()
