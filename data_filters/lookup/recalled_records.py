"""Records made of a trace that states a fact which nobody gave: the fact looked up, given, missing,
changed, among results about others, or without a tool.
"""

import random
from collections.abc import Callable, Sequence

from data_filters.lookup.knowledge_base import KnowledgeBase, first_of, passage
from data_filters.lookup.rewrite import (
    BOTH,
    Recalled,
    gives,
    lookup,
    recalled,
    said_instead,
    with_calls,
)
from data_filters.lookup.search_results import SearchResults, form_of
from data_filters.records.tool_calls import LOOKUP, PYTHON, tool_schemas
from data_filters.records.traces import Span, Trace
from recipes.schema.filter import Lookups

# share of results drawn as from a base that knows more of each subject than this run's traces say
_FULLER = 0.8
OFFERS = (BOTH, BOTH, tool_schemas(LOOKUP), tool_schemas(PYTHON))


class RecalledRecords:
    """Draws such records.

    Args:
        base: facts that were taken out.
        results: draws what a base would give.
        config: how many records of which kind.
        spans: finds what a trace states.
        abstain_text: what is said where the base does not help.
    """

    def __init__(
        self,
        base: KnowledgeBase,
        results: SearchResults,
        config: Lookups,
        spans: Callable[[Trace], Sequence[Span]],
        abstain_text: str,
    ) -> None:
        self.base, self.results, self.config = base, results, config
        self.spans, self.abstain_text = spans, abstain_text

    def of(self, rng: random.Random, trace: Trace) -> list[Trace]:
        """Records of different kinds, drawn by weight."""
        fact = recalled(trace, self.spans(trace))
        if fact is None:
            return []
        makers = {
            "found": self._found,
            "given": self._given,
            "missing": self._missing,
            "changed": self._changed,
            "irrelevant": self._irrelevant,
            "off": lambda rng, whole, _: self.off(rng, whole),
        }
        weights = {kind: weight for kind, weight in self.config.mixture.items() if weight}
        made: list[Trace] = []
        while weights and len(made) < self.config.num_records:
            kind = rng.choices(list(weights), list(weights.values()))[0]
            del weights[kind]
            if record := makers[kind](rng, trace, fact):
                made.append(record)
        return made

    def _search(self, query: str, base: KnowledgeBase | None = None) -> list[str]:
        return (base or self.base).search(query, self.config.num_snippets)

    def _found(self, rng: random.Random, trace: Trace, fact: Recalled) -> Trace | None:
        """The base is asked and followed. What it says is drawn: a fact that is looked up again and
        again is known by heart at last.
        """
        value = self._drawn(rng, fact)
        if (asks := self._asks(fact)) and rng.random() < _FULLER:
            step = lookup(fact.question, self.results.around(rng, asks, fact.subject, value, {}))
            return with_calls(
                trace,
                [step],
                said_instead(trace.messages[-1]["content"], fact.value, value),
                "found",
            )
        return self._answered(
            trace, fact, _saying(self._search(fact.question), fact, value), "found"
        )

    def _drawn(self, rng: random.Random, fact: Recalled, other: bool = False) -> str:
        """A value of the base that answers such a question, the fact's own where nothing else does;
        steps on the way keep theirs.
        """
        alike = self.results.alike[form_of(fact.question, fact.subject)] if fact.direct else []
        return rng.choice(
            [value for value in alike if not other or value != fact.value] or [fact.value]
        )

    def _asks(self, fact: Recalled) -> list[str]:
        """Forms of question that a fact answers, its own first; of a step on the way those that ask
        for it. Only usual ones.
        """
        form = form_of(fact.question, fact.subject)
        if fact.direct:
            return [form, *self.results.kin(form)] if form in self.results.forms else []
        return self.results.answered_by(fact.value) if len(fact.values) == 1 else []

    def _answered(
        self, trace: Trace, fact: Recalled, results: list[str], kind: str
    ) -> Trace | None:
        """The answer that the results give, in the teacher's words; None where they do not give
        one.
        """
        value, text, step = (
            first_of(results, fact.question),
            trace.messages[-1]["content"],
            lookup(fact.question, results),
        )
        if fact.direct and value is not None:
            return with_calls(trace, [step], said_instead(text, fact.value, value), kind)
        return (
            with_calls(trace, [step], text, kind)
            if gives(results, fact.subject, fact.values)
            else None
        )

    def _given(self, rng: random.Random, trace: Trace, fact: Recalled) -> Trace | None:
        """The passage stands in the prompt: nothing to look up."""
        if not fact.direct:
            return None
        value = self._drawn(rng, fact)
        prompt = f"{passage(fact.subject, fact.question, value)} {trace.messages[-2]['content']}"
        text = said_instead(trace.messages[-1]["content"], fact.value, value)
        return with_calls(trace, [], text, "given", prompt=prompt, tools=rng.choice(OFFERS))

    def off(self, rng: random.Random, trace: Trace) -> Trace:
        """No base at hand: it does not know."""
        return with_calls(
            trace,
            [],
            self.abstain_text,
            "off",
            tools=rng.choice((None, None, tool_schemas(PYTHON))),
        )

    def _missing(self, rng: random.Random, trace: Trace, fact: Recalled) -> Trace:
        """The base does not have it."""
        if (asks := self._asks(fact)) and rng.random() < _FULLER:
            results = self.results.around(rng, asks, fact.subject, None, {})
        else:
            near = self._search(fact.question, self._without(fact)) if rng.random() < 0.8 else []
            results = [
                text
                for text in near
                if text not in self.results.bare and not gives([text], fact.subject, fact.values)
            ]
        return with_calls(trace, [lookup(fact.question, results)], self.abstain_text, "missing")

    def _without(self, fact: Recalled) -> KnowledgeBase:
        """What the base would give: a search over a few more passages, less those that say it."""
        near = self.base.search(fact.question, 4 * self.config.num_snippets + 8)
        answers = {
            passage(fact.subject, question, value)
            for value in fact.values
            for question in self.results.same[fact.subject, value]
        }
        # whatever they answer: another trace may differ
        asks = [fact.question, *(form.format(fact.subject) for form in self._asks(fact))]
        return KnowledgeBase(
            text
            for text in near
            if text not in answers and not any(first_of([text], ask) for ask in asks)
        )

    def _changed(self, rng: random.Random, trace: Trace, fact: Recalled) -> Trace | None:
        """The base has another value: that counts."""
        other = self._drawn(rng, fact, other=True)
        if other == fact.value:
            return None
        return self._answered(
            trace, fact, _saying(self._search(fact.question), fact, other), "changed"
        )

    def _irrelevant(self, rng: random.Random, trace: Trace, fact: Recalled) -> Trace | None:
        """Results about others: it asks again in other words, and declines when that does not help
        either.
        """
        others = [
            text
            for text in rng.sample(self.base.passages, min(30, len(self.base)))
            if fact.subject not in text
        ]
        again = [
            question
            for question in self.results.same[fact.subject, fact.value]
            if question and question != fact.question
        ]
        if not fact.direct or not again or len(others) < 2 * self.config.num_snippets:
            return None
        first = lookup(fact.question, others[: self.config.num_snippets])
        question = rng.choice(again)
        if rng.random() < 0.5:
            second = lookup(
                question, others[self.config.num_snippets : 2 * self.config.num_snippets]
            )
            return with_calls(trace, [first, second], self.abstain_text, "irrelevant, abstains")
        results = _saying(self._search(question), fact, self._drawn(rng, fact))
        value = first_of(results, question)
        if value is None:
            return None
        text = said_instead(trace.messages[-1]["content"], fact.value, value)
        return with_calls(trace, [first, lookup(question, results)], text, "irrelevant, asks again")


def _saying(results: list[str], fact: Recalled, value: str) -> list[str]:
    """Results with a value in place of the fact's."""
    return [
        said_instead(text, fact.value, value) if gives([text], fact.subject, fact.values) else text
        for text in results
    ]
