"""Whether one name is a misspelling of another: one slip of the pen, not another name."""

_MIN_LETTERS = 6
_MIN_TWO_SLIPS = 10
_VOWELS = frozenset("aeiouy")
_ALIKE = frozenset(map(frozenset, ("ck", "sz", "sc", "vw", "fv", "ij", "mn", "dt", "bp", "gj")))


def misspelt(one: str, other: str) -> bool:
    """Whether two words of six letters or more differ by one slip: a letter left out or doubled,
    two that changed places, a vowel or a like sound for another; two slips in ten letters.

    The first letter stays, and one letter more or less at the end makes another name ("Martin",
    "Martina"). Names of invented people may well be one letter apart, so any other letter counts.
    """
    short, long = sorted((one.lower(), other.lower()), key=len)
    if len(short) < _MIN_LETTERS or short[0] != long[0] or short == long:
        return False
    return _slips(short, long, 2 if len(short) >= _MIN_TWO_SLIPS else 1)


def _slips(one: str, other: str, left: int) -> bool:
    """Whether at most so many slips lie between two words."""
    at = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    one, other = one[at:], other[at:]
    if not one or not other:
        return one == other
    if not left:
        return False
    ways = []
    if one[1:2] == other[:1] and other[1:2] == one[:1]:
        ways.append((one[2:], other[2:]))
    if len(one) == len(other) and _sound_alike(one[0], other[0]):
        ways.append((one[1:], other[1:]))
    if len(one) < len(other):
        ways.append((one, other[1:]))
    elif len(one) > len(other):
        ways.append((one[1:], other))
    return any(_slips(a, b, left - 1) for a, b in ways)


def _sound_alike(one: str, other: str) -> bool:
    return (one in _VOWELS and other in _VOWELS) or frozenset((one, other)) in _ALIKE
