"""Look-ups to learn from: what a filter kept, with calls in place of recalled facts, and
counterparts that say when not to call.

Results come from the base that scrubbing wrote, through the same index that a student will use, so
their order and their noise are those that it will meet.
"""

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from data_filters.lookup.knowledge_base import KnowledgeBase, first_of, passage
from data_filters.lookup.rewrite import (
    BOTH,
    Recalled,
    Step,
    gives,
    lookup,
    offers,
    recalled,
    said_instead,
    with_calls,
)
from data_filters.lookup.search_results import Snippets, form_of
from data_filters.records.shards import iter_traces, list_shards, read_shard, write_shard
from data_filters.records.tool_calls import LOOKUP, PYTHON, offered
from data_filters.records.traces import SCHEMA, Trace, to_row
from data_filters.scrub.scrub import Scrubber, restore
from recipes.schema.filter import Lookups
from recipes.vocabulary import Action, Verdict

_SUM = re.compile(r"-?\d+(?: [+-] \d+)+")
_STATES = re.compile(r"\bThe (\w+) of (\w+) is (\w+)\.")  # The home of Mara is Oslo.
_SENTENCE = re.compile(r"\S[^.?!]*[.?!]")
_FOUND = 0.5  # share of moved facts that are in the base
# share of results drawn as from a base that knows more of each subject than this run's traces say
_FULLER = 0.8
_OFFERS = (BOTH, BOTH, offered(LOOKUP), offered(PYTHON))


class Mixture:
    """Turns traces into records with look-ups.

    Args:
        base: facts that were taken out.
        scrubber: finds what a trace recalls.
        config: shares and chances.
        seed: of the draws; a trace is treated alike whatever stands around it.
    """

    def __init__(
        self,
        base: KnowledgeBase,
        facts: list[dict[str, str]],
        scrubber: Scrubber,
        config: Lookups,
        seed: int,
    ) -> None:
        self.base, self.scrubber, self.config, self.seed = base, scrubber, config, seed
        self.counts: Counter[str] = Counter()
        self.snippets = Snippets(facts, config.snippets, config.links)

    def records(self, trace: Trace) -> Iterator[Trace]:
        """What is taught in place of one kept trace, the most alike first."""
        # its teacher has tools of its own
        if any(message["role"] == "tool" for message in trace.messages):
            yield trace
            return
        rng = random.Random(f"lookups/{self.seed}/{trace.id}")
        if any(span.action == Action.ABSTAIN for span in trace.spans):
            yield from self._counted(
                self._recalling(rng, restore(trace)) or [self._off(rng, restore(trace))]
            )
            return
        yield offers(trace, rng.choice(_OFFERS)) if rng.random() < self.config.offered else trace
        makers = (
            (self.config.moved, self._moved),
            (self.config.two_hops, self._two_hops),
            (self.config.programs, self._program),
        )
        for chance, make in makers:
            if rng.random() < chance and (made := make(rng, trace)):
                yield from self._counted([made])

    def _counted(self, made: list[Trace]) -> list[Trace]:
        self.counts.update(trace.spans[-1].detector.removeprefix("lookups/") for trace in made)
        return made

    # --- a fact that nobody gave
    # --------------------------------------------------------------------------------

    def _recalling(self, rng: random.Random, trace: Trace) -> list[Trace]:
        """Records of different kinds, drawn by weight."""
        fact = recalled(trace, self.scrubber.spans(trace))
        if fact is None:
            return []
        makers = {
            "found": self._found,
            "given": self._given,
            "missing": self._missing,
            "changed": self._changed,
            "irrelevant": self._irrelevant,
            "off": lambda rng, whole, _: self._off(rng, whole),
        }
        weights = {kind: weight for kind, weight in self.config.mixture.items() if weight}
        made = []
        while weights and len(made) < self.config.records:
            kind = rng.choices(list(weights), list(weights.values()))[0]
            del weights[kind]
            if record := makers[kind](rng, trace, fact):
                made.append(record)
        return made

    def _search(self, query: str, base: KnowledgeBase | None = None) -> list[str]:
        return (base or self.base).search(query, self.config.snippets)

    def _found(self, rng: random.Random, trace: Trace, fact: Recalled) -> Trace | None:
        """The base is asked and followed. What it says is drawn: a fact that is looked up again and
        again is known by heart at last.
        """
        value = self._drawn(rng, fact)
        if (asks := self._asks(fact)) and rng.random() < _FULLER:
            step = lookup(fact.question, self.snippets.around(rng, asks, fact.subject, value, {}))
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
        alike = self.snippets.alike[form_of(fact.question, fact.subject)] if fact.direct else []
        return rng.choice(
            [value for value in alike if not other or value != fact.value] or [fact.value]
        )

    def _asks(self, fact: Recalled) -> list[str]:
        """Forms of question that a fact answers, its own first; of a step on the way those that ask
        for it. Only usual ones.
        """
        form = form_of(fact.question, fact.subject)
        if fact.direct:
            return [form, *self.snippets.kin(form)] if form in self.snippets.forms else []
        return self.snippets.answered_by(fact.value) if len(fact.values) == 1 else []

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
        return with_calls(trace, [], text, "given", prompt=prompt, tools=rng.choice(_OFFERS))

    def _off(self, rng: random.Random, trace: Trace) -> Trace:
        """No base at hand: it does not know."""
        return with_calls(
            trace,
            [],
            self.scrubber.abstain_text,
            "off",
            tools=rng.choice((None, None, offered(PYTHON))),
        )

    def _missing(self, rng: random.Random, trace: Trace, fact: Recalled) -> Trace:
        """The base does not have it."""
        if (asks := self._asks(fact)) and rng.random() < _FULLER:
            results = self.snippets.around(rng, asks, fact.subject, None, {})
        else:
            near = self._search(fact.question, self._without(fact)) if rng.random() < 0.8 else []
            results = [
                text
                for text in near
                if text not in self.snippets.bare and not gives([text], fact.subject, fact.values)
            ]
        return with_calls(
            trace, [lookup(fact.question, results)], self.scrubber.abstain_text, "missing"
        )

    def _without(self, fact: Recalled) -> KnowledgeBase:
        """What the base would give: a search over a few more passages, less those that say it."""
        near = self.base.search(fact.question, 4 * self.config.snippets + 8)
        answers = {
            passage(fact.subject, question, value)
            for value in fact.values
            for question in self.snippets.same[fact.subject, value]
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
            for question in self.snippets.same[fact.subject, fact.value]
            if question and question != fact.question
        ]
        if not fact.direct or not again or len(others) < 2 * self.config.snippets:
            return None
        first = lookup(fact.question, others[: self.config.snippets])
        question = rng.choice(again)
        if rng.random() < 0.5:
            second = lookup(question, others[self.config.snippets : 2 * self.config.snippets])
            return with_calls(
                trace, [first, second], self.scrubber.abstain_text, "irrelevant, abstains"
            )
        results = _saying(self._search(question), fact, self._drawn(rng, fact))
        value = first_of(results, question)
        if value is None:
            return None
        text = said_instead(trace.messages[-1]["content"], fact.value, value)
        return with_calls(trace, [first, lookup(question, results)], text, "irrelevant, asks again")

    # --- made of traces that recall nothing
    # ----------------------------------------------------------------------

    def _moved(self, rng: random.Random, trace: Trace) -> Trace | None:
        """What the prompt said of the one who is asked for goes to the base, or is nowhere; what it
        said of others may stay.
        """
        *_, asked, said = trace.messages
        *told, question = _SENTENCE.findall(asked["content"])
        stated = {name: value for _, name, value in _STATES.findall(asked["content"])}
        subject = next((name for name in stated if re.search(rf"\b{name}\b", question)), None)
        if (
            subject is None
            or _links(asked["content"], question)[1]
            or trace.verdict != Verdict.CORRECT
        ):
            return None
        value, form = stated.pop(subject), form_of(question, subject)
        asks = (
            [form, *self.snippets.kin(form)]
            if trace.answer == value
            else self.snippets.answered_by(value)
        )
        if not asks:
            return None
        left = (
            [text for text in told if not re.search(rf"\b{subject}\b", text)]
            if rng.random() < 0.5
            else []
        )
        prompt = " ".join([*left, question])
        if rng.random() < _FOUND:
            step = lookup(question, self.snippets.around(rng, asks, subject, value, stated))
            return with_calls(trace, [step], said["content"], "moved", prompt=prompt)
        step = lookup(question, self.snippets.around(rng, asks, subject, None, stated))
        return with_calls(
            trace, [step], self.scrubber.abstain_text, "moved, missing", prompt=prompt
        )

    def _two_hops(self, rng: random.Random, trace: Trace) -> Trace | None:
        """What the prompt said of "the friend of Mara", and of that friend, goes to the base, or
        one of them is nowhere.
        """
        *_, asked, said = trace.messages
        question = _SENTENCE.findall(asked["content"])[-1]
        kind, links = _links(asked["content"], question)
        who = next((name for name in links if f"the {kind} {name}" in question), None)
        stated = {
            name: value
            for one, name, value in _STATES.findall(asked["content"])
            if f"{one} of" != kind
        }
        if who is None or links[who] not in stated or trace.verdict != Verdict.CORRECT:
            return None
        subject, asks = links[who], [question.replace(f"the {kind} {who}", "{}")]
        asks += self.snippets.kin(asks[0])
        rng.shuffle(asks)
        form, value, lost = (
            asks[0],
            stated.pop(subject),
            rng.choices(("", "first", "second"), (0.75, 0.15, 0.1))[0],
        )
        question, link = form.format(f"the {kind} {who}"), f"the {kind} {who}"
        first = lookup(link, self.snippets.linked(rng, kind, who, links, lost == "first"))
        if lost == "first":
            return with_calls(
                trace, [first], self.scrubber.abstain_text, "two hops, missing", prompt=question
            )
        found = self.snippets.around(rng, asks, subject, None if lost else value, stated)
        text, how = (
            (self.scrubber.abstain_text, "two hops, missing")
            if lost
            else (said["content"], "two hops")
        )
        return with_calls(
            trace, [first, lookup(form.format(subject), found)], text, how, prompt=question
        )

    def _program(self, rng: random.Random, trace: Trace) -> Trace | None:
        """A sum of as many long numbers, worked out by a program. Its signs are drawn anew: short
        sums mostly stay above 0.
        """
        asked = trace.messages[-2]["content"]
        found = _SUM.search(asked)
        if (
            found is None
            or trace.verdict != Verdict.CORRECT
            or len(_SUM.findall(asked)) != 1
            or re.search(r"\d", asked.replace(found[0], ""))
        ):
            return None
        long = re.sub(
            r"\d+",
            lambda _: str(rng.randint(10 ** (self.config.digits - 1), 10**self.config.digits - 1)),
            found[0],
        )
        long = re.sub(r" [+-] ", lambda _: rng.choice((" + ", " - ")), long)
        total = _sum(long)
        return with_calls(
            trace,
            [Step(PYTHON, long, str(total))],
            f"{total}.",
            "program",
            prompt=asked.replace(found[0], long),
            tools=rng.choice((BOTH, BOTH, offered(PYTHON))),
        )


def _saying(results: list[str], fact: Recalled, value: str) -> list[str]:
    """Results with a value in place of the fact's."""
    return [
        said_instead(text, fact.value, value) if gives([text], fact.subject, fact.values) else text
        for text in results
    ]


def _sum(expression: str) -> int:
    first, *rest = expression.split()
    return int(first) + sum(
        int(number) if sign == "+" else -int(number)
        for sign, number in zip(rest[::2], rest[1::2], strict=True)
    )


def _links(prompt: str, question: str) -> tuple[str, dict[str, str]]:
    """Of "the friend of Mara" in a question "friend of", and who is whose friend; nothing where no
    statement says so.
    """
    said = _STATES.findall(prompt)
    kind = next((kind for kind, name, _ in said if f"the {kind} of {name}" in question), "")
    return f"{kind} of", {name: other for one, name, other in said if one == kind}


def mix(
    folder: Path, scrubber: Scrubber, config: Lookups, seed: int, progress: Callable[[int], None]
) -> dict[str, int]:
    """Rewrites folder/kept with look-ups and counterparts from folder/knowledge; gives how many
    records there are of each kind.

    Shard by shard, so in constant memory beside the base; `progress` is called with 1 for each."""
    kept, half = folder / "kept", folder / ".kept-mixed"
    facts = [row for shard in list_shards(folder / "knowledge") for row in read_shard(shard)]
    mixture = Mixture(KnowledgeBase.read(folder / "knowledge"), facts, scrubber, config, seed)
    shutil.rmtree(half, ignore_errors=True)
    for shard in list_shards(kept):
        rows = [to_row(record) for trace in iter_traces(shard) for record in mixture.records(trace)]
        write_shard(half / shard.name, rows, SCHEMA)
        progress(1)
    shutil.rmtree(kept)
    half.rename(kept)
    return dict(mixture.counts)
