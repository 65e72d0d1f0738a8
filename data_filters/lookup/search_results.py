"""What a knowledge base would give for a question, drawn: with the answer or without, and nothing
else that tells which.

Records of look-ups whose results cannot come from the base itself, since it has no such fact, get
theirs here.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from data_filters.lookup.knowledge_base import passage

# share of results in which facts of the same subject stand in an index's order, those in the words
# of the question first
INDEXED = 0.85
USUAL = 5  # facts that make a form of question a usual one


def form_of(question: str, subject: str) -> str:
    """A question without its subject: facts that answer the same form may stand in for each
    other.
    """
    return question.replace(subject, "{}") if subject else question


def _asks_for_a_fact(form: str) -> bool:
    """Of one subject, and nothing to work out: "How old is Mara in 3 years?" has a number to work
    with.
    """
    return form.count("{}") == 1 and not any(sign.isdigit() for sign in form)


def shared_words(text: str, question: str) -> int:
    """How many words of a question a passage has."""
    return len(set(text.split()) & set(question.split()))


class SearchResults:
    """Draws results from the facts that were taken out.

    Args:
        facts: rows of knowledge/ (subject, relation, value).
        count: passages that a look-up gives.
        links: between subjects, e.g. "friend of", that a base holds beside facts.
    """

    def __init__(
        self, facts: Iterable[dict[str, str]], count: int, links: Sequence[str] = ()
    ) -> None:
        self.count, self.links = count, links
        # passages that do not say of what they are the value: they may be the answer to anything
        self.bare: set[str] = set()
        self.alike: dict[str, list[str]] = defaultdict(list)  # form of question -> values
        # subject, value -> questions that have this answer
        self.same: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._stated: dict[str, list[str]] = defaultdict(list)  # form of question -> passages
        for fact in facts:
            form = form_of(fact["relation"], fact["subject"])
            self.alike[form].append(fact["value"])
            self.same[fact["subject"], fact["value"]].append(fact["relation"])
            self._stated[form].append(passage(fact["subject"], fact["relation"], fact["value"]))
            self.bare.update(() if fact["relation"] else self._stated[form][-1:])
        self._subjects = sorted({subject for subject, _ in self.same if subject})
        self.forms = [
            form
            for form, values in self.alike.items()
            if _asks_for_a_fact(form) and len(values) >= USUAL
        ]
        self._kindred: dict[str, list[str]] = {}

    def answered_by(self, value: str) -> list[str]:
        """Usual forms of question that a value answers: the one it answers most often, and what
        asks for the same.
        """
        best = max(self.forms, key=lambda form: self.alike[form].count(value), default="")
        return [best, *self.kin(best)] if value in self.alike.get(best, ()) else []

    def around(
        self,
        rng: random.Random,
        asks: Sequence[str],
        subject: str,
        value: str | None,
        others: dict[str, str],
    ) -> list[str]:
        """What a base gives for a question that holds its answer (or not), other facts of the
        subject, and facts of others.

        What stands beside an answer is drawn as what stands in its place, or a reader would learn
        to look at that alone. Other facts have values drawn from the base: who was asked for, and
        what, must be read, and nothing can be known by heart.

        Args:
            asks: forms that ask for the value; the first is the one that is looked up.
            value: None: the base does not have it.
            others: what is told of others.
        """
        mine = self.about(rng, subject, without=asks)
        mine += self._linking(rng, subject) if mine else ()
        theirs = [
            passage(name, form.format(name), other)
            for name, other in others.items()
            for form in asks
        ]
        theirs += [
            text
            for text in rng.sample(self._stated[asks[0]], min(4, len(self._stated[asks[0]])))
            if subject not in text
        ]
        if value is not None:
            mine += [
                passage(subject, form.format(subject), value)
                for form in asks[1:]
                if rng.random() < 0.7
            ]
        results: list[str] = []
        share = rng.choice((0.3, 0.9, 0.9))
        for pool in (mine, theirs):
            rng.shuffle(pool)
        # "What is the job of Mara?" before "What does Mara do?" where it says "What is the home of
        # Mara?"
        if rng.random() < INDEXED:
            mine.sort(key=lambda text: shared_words(text, asks[0]))
        while len(results) < self.count and (mine or theirs):
            results.append(
                (mine if mine and (not theirs or rng.random() < share) else theirs).pop()
            )
        if value is not None:
            results.insert(
                0 if rng.random() < 0.9 else 1, passage(subject, asks[0].format(subject), value)
            )
        elif rng.random() < 0.1:
            return []
        return results[: self.count]

    def about(self, rng: random.Random, subject: str, without: Sequence[str] = ()) -> list[str]:
        """None to a few facts of a subject, with values drawn from the base."""
        forms = [form for form in self.forms if form not in without]
        return [
            passage(subject, form.format(subject), rng.choice(self.alike[form]))
            for form in rng.sample(forms, min(rng.choice((0, 4, 6, 6, 6)), len(forms)))
        ]

    def _linking(self, rng: random.Random, subject: str) -> Iterator[str]:
        """Who a subject is linked with, either way round."""
        for kind in self.links:
            one, other = rng.choice(self._subjects), rng.choice(self._subjects)
            yield from [
                text
                for text in (f"The {kind} {subject} is {one}.", f"The {kind} {other} is {subject}.")
                if rng.random() < 0.5
            ]

    def linked(
        self, rng: random.Random, kind: str, who: str, links: dict[str, str], lost: bool
    ) -> list[str]:
        """What a base gives for "the friend of Mara": who that is, whose friend she is, and then
        facts of hers and friends of others.

        But for the one line it is drawn alike with and without the answer: what else stands there
        must not give away whether it does.
        """
        back, *others = [one for one in links if one != who] or [who]
        # the other way round
        near = [f"The {kind} {back} is {who}."] if back != who and rng.random() < 0.8 else []
        near += [] if lost else [f"The {kind} {who} is {links[who]}."]
        far = [*self.about(rng, who), *(f"The {kind} {one} is {links[one]}." for one in others)]
        rng.shuffle(near)
        rng.shuffle(far)
        return [*near, *far][: self.count]

    def kin(self, form: str) -> list[str]:
        """Other forms that ask for the same: their answers are mostly the same values."""
        if form not in self._kindred:
            mine = set(self.alike.get(form, ()))
            near = [other for other in self.forms if other != form and mine]
            self._kindred[form] = [
                o
                for o in near
                if 2 * len(mine & set(self.alike[o])) >= min(len(mine), len(set(self.alike[o])))
            ]
        return self._kindred[form]
