"""Records made of a trace that recalls nothing: what its prompt said moves to the base, in one
look-up or two, or its sum goes to a program.
"""

import random
import re

from data_filters.lookup.rewrite import BOTH, Step, lookup, with_calls
from data_filters.lookup.search_results import SearchResults, form_of
from data_filters.records.tool_calls import PYTHON, tool_schemas
from data_filters.records.traces import Trace
from recipes.schema.filter import Lookups
from recipes.vocabulary import Verdict

_SUM = re.compile(r"-?\d+(?: [+-] \d+)+")
STATES = re.compile(r"\bThe (\w+) of (\w+) is (\w+)\.")  # The home of Mara is Oslo.
_SENTENCE = re.compile(r"\S[^.?!]*[.?!]")
_FOUND = 0.5  # share of moved facts that are in the base


class GroundedRecords:
    """Draws such records, of traces that end with a question of the user and an answer to it.

    Args:
        results: draws what a base would give.
        config: how long the numbers of a program are.
        abstain_text: what is said where the base does not help.
    """

    def __init__(self, results: SearchResults, config: Lookups, abstain_text: str) -> None:
        self.results, self.config, self.abstain_text = results, config, abstain_text

    def one_lookup(self, rng: random.Random, trace: Trace) -> Trace | None:
        """What the prompt said of the one who is asked for goes to the base, or is nowhere; what it
        said of others may stay.
        """
        *_, asked, said = trace.messages
        sentences = _SENTENCE.findall(asked["content"])
        if not sentences:
            return None
        *told, question = sentences
        stated = {name: value for _, name, value in STATES.findall(asked["content"])}
        subject = next((name for name in stated if re.search(rf"\b{name}\b", question)), None)
        if (
            subject is None
            or _links(asked["content"], question)[1]
            or trace.verdict != Verdict.CORRECT
        ):
            return None
        value, form = stated.pop(subject), form_of(question, subject)
        asks = (
            [form, *self.results.kin(form)]
            if trace.answer == value
            else self.results.answered_by(value)
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
            step = lookup(question, self.results.around(rng, asks, subject, value, stated))
            return with_calls(trace, [step], said["content"], "moved", prompt=prompt)
        step = lookup(question, self.results.around(rng, asks, subject, None, stated))
        return with_calls(trace, [step], self.abstain_text, "moved, missing", prompt=prompt)

    def two_lookups(self, rng: random.Random, trace: Trace) -> Trace | None:
        """What the prompt said of "the friend of Mara", and of that friend, goes to the base, or
        one of them is nowhere.
        """
        *_, asked, said = trace.messages
        question = next(reversed(_SENTENCE.findall(asked["content"])), "")
        kind, links = _links(asked["content"], question)
        who = next((name for name in links if f"the {kind} {name}" in question), None)
        stated = {
            name: value
            for one, name, value in STATES.findall(asked["content"])
            if f"{one} of" != kind
        }
        if who is None or links[who] not in stated or trace.verdict != Verdict.CORRECT:
            return None
        subject, asks = links[who], [question.replace(f"the {kind} {who}", "{}")]
        asks += self.results.kin(asks[0])
        rng.shuffle(asks)
        form, value, lost = (
            asks[0],
            stated.pop(subject),
            rng.choices(("", "first", "second"), (0.75, 0.15, 0.1))[0],
        )
        question, link = form.format(f"the {kind} {who}"), f"the {kind} {who}"
        first = lookup(link, self.results.linked(rng, kind, who, links, lost == "first"))
        if lost == "first":
            return with_calls(
                trace, [first], self.abstain_text, "two hops, missing", prompt=question
            )
        found = self.results.around(rng, asks, subject, None if lost else value, stated)
        text, how = (
            (self.abstain_text, "two hops, missing") if lost else (said["content"], "two hops")
        )
        return with_calls(
            trace, [first, lookup(form.format(subject), found)], text, how, prompt=question
        )

    def program(self, rng: random.Random, trace: Trace) -> Trace | None:
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
            lambda _: str(
                rng.randint(10 ** (self.config.num_digits - 1), 10**self.config.num_digits - 1)
            ),
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
            tools=rng.choice((BOTH, BOTH, tool_schemas(PYTHON))),
        )


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
    said = STATES.findall(prompt)
    kind = next((kind for kind, name, _ in said if f"the {kind} of {name}" in question), "")
    return f"{kind} of", {name: other for one, name, other in said if one == kind}
