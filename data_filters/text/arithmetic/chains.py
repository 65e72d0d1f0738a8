"""Written calculations: "3 + 5 = 8 - 2 = 6", "5 apples plus 3 is 8", "30% of 50 is 15"."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from data_filters.text.arithmetic.evaluate import Part, evaluate
from data_filters.text.arithmetic.scan import TRIES, Item

_MAX_GAP = 3  # plain words between an operand and an operator: "5 ripe apples plus 3"
_MAX_PARTS = 200
_PREFIXED = frozenset(("sqrt", "frac"))


@dataclass(slots=True)
class Segment:
    """What stands between two equals signs."""

    parts: list[Part] = field(default_factory=list)
    numbers: list[Item] = field(default_factory=list)
    operators: int = 0
    about: bool = False  # said to be rounded
    value: float | None = None
    totals: list[float] = field(default_factory=list)

    def close(self) -> None:
        """Finds the value."""
        if not self.operators:
            self.value = self.numbers[0].value if len(self.parts) == 1 and self.numbers else None
        elif self.numbers:
            self.value, self.totals = evaluate(self.parts)


def chains(text: str, items: Iterable[Item]) -> Iterator[list[Segment]]:
    """The calculations of a sentence, each as what its equals signs part; segments that say
    nothing are left out.
    """
    walk = _Walk(text)
    for item in items:
        walk.take(item)
        if walk.done:
            yield from walk.done
            walk.done = []
    walk.end()
    yield from walk.done


class _Walk:
    """Builds chains item by item."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.done: list[list[Segment]] = []
        self._chain: list[Segment] = []
        self._now = Segment()
        self._gap = self._depth = self._end = self._read = 0
        self._braces: list[str] = []  # for each open bracket the command that it belongs to
        self._prefix = ""

    def take(self, item: Item) -> None:
        """Adds an item."""
        if self._read:
            self._gap += self._text.count(" ", self._read, item.start)
        self._read = item.end + 1
        _TAKES[item.kind](self, item)

    def end(self) -> None:
        """Ends the chain."""
        now = self._now
        bare = not (self._chain or now.operators or (now.parts and not self._complete))
        if bare:  # the usual case: numbers, and no calculation
            now.parts.clear()
            now.numbers.clear()
            now.about = False
            self._forget()
            return
        self._close_segment()
        if self._chain:
            if any(segment.operators for segment in self._chain):
                self.done.append(self._chain)
            self._chain = []

    def _close_segment(self) -> None:
        now = self._now
        while now.parts and now.parts[-1].sign in ("+", "-", "*", "/", "^", "%", "sqrt", "("):
            now.operators -= now.parts.pop().sign != "("
        if now.numbers:
            now.close()
            self._chain.append(now)
            self._now = Segment()
        elif now.parts or now.about:
            self._now = Segment()
        self._forget()

    def _forget(self) -> None:
        """Leaves behind what was open."""
        self._gap, self._depth, self._prefix = 0, 0, ""
        self._braces.clear()

    @property
    def _complete(self) -> bool:
        """Whether an operand stands last."""
        parts = self._now.parts
        return bool(parts) and parts[-1].sign in ("", ")", "var", "!")

    def _push(self, sign: str, value: float = 0.0) -> None:
        if len(self._now.parts) < _MAX_PARTS:
            self._now.parts.append(Part(sign, value))
        self._gap = 0

    def _sign(self, sign: str) -> None:
        self._push(sign)
        self._now.operators += 1

    def _number(self, item: Item) -> None:
        now = self._now
        if self._complete:
            last, fraction = now.parts[-1], item.key.isalpha() and item.value < 1
            scale = item.key.isalpha() and item.value >= 100 and last.sign == ""
            near = item.start - self._end <= 1
            if near and (fraction or scale):
                if scale:
                    now.parts[-1] = Part("", last.value * item.value)
                    now.numbers.append(item)
                    self._end = item.end
                    return
                self._sign("*")
            else:
                self.end()
                now = self._now
        elif self._gap > _MAX_GAP:
            self.end()
            now = self._now
        self._push("", item.value)
        now.numbers.append(item)
        self._end = item.end

    def _letter(self, item: Item) -> None:
        if self._complete:
            if item.start != self._end:
                self.end()
            else:
                self._sign("*")
        self._push("var")
        self._end = item.end

    def _operator(self, item: Item) -> None:
        sign, now = item.key, self._now
        if sign in "/-" and self._between_words(item):
            return  # "miles/hour", "six-sided"
        if sign in _PREFIXED or (sign == "choose" and not self._complete):
            if self._complete:
                self._sign("*")
            self._prefix = sign
            if sign == "sqrt":
                self._sign("sqrt")
        elif sign == "by":
            if self._complete and self._gap <= 1 and not now.operators:
                self._sign("*")
        elif not self._complete:
            if sign == "-":
                self._push("-")
            elif now.parts and sign in ("of", "percent"):
                pass
            else:
                self.end()
        elif self._gap > _MAX_GAP:
            self.end()
        elif sign in ("+", "-", "*", "/", "^", "%", "choose"):
            self._sign(sign)
        elif sign == "!":
            self._sign("!")
        elif sign in ("squared", "cubed"):
            self._sign("^")
            self._push("", 2.0 if sign == "squared" else 3.0)
        elif sign == "percent":
            self._sign("*")
            self._push("", 0.01)
        elif sign == "of":
            share = now.numbers and (now.numbers[-1].percent or 0 < now.numbers[-1].value < 1)
            if (
                share
                or (len(now.parts) > 1 and now.parts[-1].value == 0.01)
                or "/" in [part.sign for part in now.parts]
            ):
                self._sign("*")
            else:
                self.end()
        else:
            self.end()
        self._end = item.end

    def _between_words(self, item: Item) -> bool:
        around = self._text[item.start - 1 : item.start], self._text[item.end : item.end + 1]
        return all(map(str.isalpha, around))

    def _equals(self, item: Item) -> None:
        if self._now.numbers and self._gap > 2 * _MAX_GAP:
            self.end()
            return
        self._close_segment()
        self._now.about = item.key == "~"

    def _open(self, item: Item) -> None:
        if item.key == "{" and self._prefix:
            if self._complete:  # the second of \frac{a}{b}
                self._sign("choose" if self._prefix == "choose" else "/")
                self._prefix = ""
            elif self._prefix == "sqrt":
                self._prefix = ""
            self._braces.append(self._prefix)
            self._prefix = ""
        elif self._complete:
            if item.start != self._end:
                self.end()
            elif self._now.parts[-1].sign in (")", "") or item.key == "{":
                self._sign("*")
            else:
                self.end()
            self._braces.append("")
        else:
            self._braces.append("")
        self._push("(")
        self._depth += 1
        self._end = item.end

    def _close(self, item: Item) -> None:
        if not self._depth or not self._complete:
            self.end()
            return
        self._push(")")
        self._depth -= 1
        self._end = item.end
        self._prefix = self._braces.pop() if self._braces else ""

    def _word(self, item: Item) -> None:
        self._now.about = self._now.about or item.key not in TRIES

    def _pause(self, item: Item) -> None:
        if item.key == "&":
            return
        self.end()


_TAKES: dict[str, Callable[[_Walk, Item], None]] = {
    "number": _Walk._number,
    "letter": _Walk._letter,
    "operator": _Walk._operator,
    "equals": _Walk._equals,
    "open": _Walk._open,
    "close": _Walk._close,
    "word": _Walk._word,
    "date": _Walk._pause,
    "pause": _Walk._pause,
    "break": _Walk._pause,
}
