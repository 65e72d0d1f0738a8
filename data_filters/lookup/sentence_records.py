"""Look-ups made of real sentences: a trace that states "Herman Melville wrote Moby-Dick" asks "who
wrote Moby-Dick", reads the passage that says so, and goes on in its teacher's words.

A record is left out rather than wrong: every fact that the trace recalls must have a query that a
person would type and a passage that the base gives for it.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from data_filters.lookup.knowledge_base import KnowledgeBase, passage
from data_filters.lookup.rewrite import Step, lookup, said_instead, with_calls
from data_filters.lookup.stated_facts import BLANK, is_plain_statement, query_of
from data_filters.records.traces import Span, Trace
from data_filters.text.tokens import Sentence, split_sentences
from data_filters.verify.answers import final_answer
from recipes.schema.filter import Lookups
from recipes.vocabulary import Verdict

_MOST_STEPS = 4
_FOUND = 0.5  # share of moved facts that are in the base
_WORDLESS = frozenset(("yes", "no", "true", "false", "none"))


@dataclass(frozen=True, slots=True)
class Asked:
    """A fact with the query that finds it and the passage that states it."""

    fact: Span
    query: str
    text: str


class SentenceRecords:
    """Draws such records.

    Args:
        base: facts that were taken out.
        config: how many records of which kind.
        abstain_text: what is said where the base does not help.
    """

    def __init__(self, base: KnowledgeBase, config: Lookups, abstain_text: str) -> None:
        self.base, self.config, self.abstain_text = base, config, abstain_text

    def of(self, rng: random.Random, trace: Trace, facts: Sequence[Span]) -> list[Trace]:
        """Records of different kinds, drawn by weight; none where a fact cannot be looked up.

        Args:
            trace: with the teacher's own words.
            facts: of its last message, as `stated_facts` gives them.
        """
        asked = self._asked(facts)
        if asked is None:
            return []
        makers = {"found": self._found, "missing": self._missing, "changed": self._changed}
        weights = {kind: self.config.mixture.get(kind, 0) for kind in makers}
        made: list[Trace] = []
        while any(weights.values()) and len(made) < self.config.num_records:
            kind = rng.choices(list(weights), list(weights.values()))[0]
            del weights[kind]
            if record := makers[kind](rng, trace, asked):
                made.append(record)
        return made

    def _asked(self, facts: Sequence[Span]) -> list[Asked] | None:
        """One step for each value, in the order of the text; None: one cannot be asked for."""
        steps: dict[str, Asked] = {}
        for fact in sorted(facts, key=lambda one: (BLANK not in one.relation, one.start)):
            query = query_of(fact.relation, fact.kind)
            if query and fact.original not in steps:
                text = passage(fact.subject, fact.relation, fact.original)
                steps[fact.original] = Asked(fact, query, text)
        told = " ".join(step.text for step in steps.values())
        if not steps or len(steps) > _MOST_STEPS or any(f.original not in told for f in facts):
            return None
        found = sorted(steps.values(), key=lambda step: step.fact.start)
        return found if all(step.text in self._search(step.query) for step in found) else None

    def _search(self, query: str) -> list[str]:
        return self.base.search(query, self.config.num_snippets)

    def _steps(self, asked: Sequence[Asked]) -> list[Step]:
        return [lookup(step.query, self._search(step.query)) for step in asked]

    def _found(self, rng: random.Random, trace: Trace, asked: list[Asked]) -> Trace:
        """All facts are looked up; the teacher's words follow from the passages."""
        return with_calls(trace, self._steps(asked), trace.messages[-1]["content"], "found")

    def _missing(self, rng: random.Random, trace: Trace, asked: list[Asked]) -> Trace | None:
        """The base does not have the fact that the answer is."""
        lost = _answering(trace, asked)
        if lost is None:
            return None
        more = self.base.search(lost.query, 4 * self.config.num_snippets + 8)
        left = [text for text in more if not _says(text, lost.fact.original)]
        last = lookup(lost.query, left[: self.config.num_snippets])
        before = [step for step in asked if step is not lost]
        return with_calls(trace, [*self._steps(before), last], self.abstain_text, "missing")

    def _changed(self, rng: random.Random, trace: Trace, asked: list[Asked]) -> Trace | None:
        """The base has another value for what the answer is: that counts."""
        told, text = _answering(trace, asked), trace.messages[-1]["content"]
        if told is None or _says(trace.prompt(), told.fact.original):
            return None
        others = [step for step in asked if step is not told]
        if any(_says(step.text, told.fact.original) for step in others):
            return None
        value = self._other_value(rng, told, text)
        if value is None:
            return None
        results = [
            said_instead(found, told.fact.original, value) for found in self._search(told.query)
        ]
        new = said_instead(text, told.fact.original, value)
        steps = [*self._steps(others), lookup(told.query, results)]
        return with_calls(trace, steps, new, "changed")

    def _other_value(self, rng: random.Random, told: Asked, text: str) -> str | None:
        """Of a number another number of the same form; of a name one that the base says likewise."""
        mine = told.fact.original
        if re.fullmatch(r"\d{4}", mine):
            return str(int(mine) + rng.choice((-3, -2, 2, 3)))
        before, _, after = told.fact.relation.replace(told.fact.subject, "\0").partition(BLANK)
        if "\0" not in before + after:
            return None
        pattern = "(.+)".join(map(re.escape, f"{before}\1{after}".split("\0")))
        pattern = pattern.replace(re.escape("\1"), "(?P<value>.+)")
        alike = (re.fullmatch(pattern, one) for one in self.base.passages)
        values = {one["value"] for one in alike if one} - {mine}
        return rng.choice(sorted(v for v in values if v not in text) or [""]) or None

    def from_prompt(self, rng: random.Random, trace: Trace) -> Trace | None:
        """The sentence of the prompt that states the answer goes to the base, or is nowhere."""
        *_, asked, said = trace.messages
        answer = (final_answer(said["content"]) or "").strip(" .\"'")
        if trace.verdict != Verdict.CORRECT or len(answer) < 3 or answer.lower() in _WORDLESS:
            return None
        prompt = asked["content"]
        sentences = split_sentences(prompt)
        bounds = [(s.tokens[0].start, s.tokens[-1].end) for s in sentences]
        states = [n for n, (a, b) in enumerate(bounds) if _says(prompt[a:b], answer)]
        if len(states) != 1 or not sentences[-1].asks or states[0] == len(sentences) - 1:
            return None
        if not is_plain_statement(prompt, sentences[states[0]]) or not _names_somebody(
            sentences[states[0]]
        ):
            return None
        start, end = bounds[states[0]]
        question = prompt[slice(*bounds[-1])] + "?"
        left = f"{prompt[:start].rstrip()} {prompt[end:].lstrip(' .')}".strip()
        near = [text for text in self._search(question) if not _says(text, answer)]
        results = near[: self.config.num_snippets - 1]
        if rng.random() < _FOUND:
            results.insert(rng.randint(0, len(results)), f"{prompt[start:end]}.")
            return with_calls(
                trace, [lookup(question, results)], said["content"], "moved", prompt=left
            )
        step = lookup(question, results)
        return with_calls(trace, [step], self.abstain_text, "moved, missing", prompt=left)


def _answering(trace: Trace, asked: Sequence[Asked]) -> Asked | None:
    """The fact whose value is the final answer."""
    answer = (final_answer(trace.messages[-1]["content"]) or "").strip(" .\"'").lower()
    return next((step for step in asked if step.fact.original.lower() == answer), None)


def _says(text: str, value: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE))


def _names_somebody(sentence: Sentence) -> bool:
    """Whether a sentence names somebody, so that it can stand among others."""
    return any(not (token.first and token.ordinary) for token in sentence.names)
