"""Reasoning of real models through the scrubbing stack: what is touched, what is declined, and which
answers are still right.

FOLDER holds files of JSON lines with `id`, `messages` and perhaps `gold`; each file is a set. What is
expected of a set follows from its rows. Worked: its references are numbers or formulas; nothing should
be declined. Closed: its answers are words that no prompt has; they should be found. Given: the prompts
hold the answers; they should stay. Statements: the answers are yes or no, the thought states facts.
"""

import argparse
import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.table import print_json, print_table
from data_filters.filters.examined import Examined
from data_filters.filters.settings import FilterContext, FilterSettings
from data_filters.passes.examine import Judged, examine
from data_filters.records.traces import Span, Trace
from data_filters.records.units import cut, read_unit
from data_filters.report.wilson import wilson
from data_filters.scrub.scrub import Scrubber
from data_filters.text.tokens import split_sentences
from data_filters.verify.answers import after_thought, final_answer
from data_filters.verify.verifiers import Verifiers, says_the_same, verify
from recipes.schema.filter import Filter
from recipes.vocabulary import Action, Grounding, Verdict

ACTIONS = (Action.ABSTAIN, Action.MASK, Action.HIDE, Action.GENERALISE, Action.RENAME)
YES_NO = frozenset("yes no true false".split())
MOST_ANSWER_WORDS = 8
CONTEXT = 50  # characters on each side of a sample
FOREIGN_LETTERS = re.compile(r"[^\W\d_A-Za-z\u00c0-\u024f\u0370-\u03ff]")
WORD = re.compile(r"[^\W\d_]+")
LATEX = re.compile(r"\\[A-Za-z]+")
# the most frequent function words of some languages that use Latin letters
FUNCTION_WORDS = {
    "en": "the of and to in is that it was for on are with as be at this have from or",
    "de": "der die und das ist nicht ein eine zu den von mit sich auf dem wir hat sie im also",
    "es": "de la que el en los se del las por un para con una su al como pero hay entonces",
    "fr": "de la le et les des en un du une que est pour qui dans par sur au nous donc",
    "it": "di che il la per un sono della una le con del si da gli quindi ha nel alla",
    "pt": "de que o do da em um para com uma os no se na por mais as dos ao tem",
    "nl": "de het een van en in is dat op te zijn met voor niet aan er om ook als dus",
}
COMMON = {name: frozenset(words.split()) for name, words in FUNCTION_WORDS.items()}


def main() -> None:
    args = _arguments()
    rows, table, answers = [], [], []
    for path in sorted(Path(args.folder).glob("*.jsonl")):
        if args.sets and not any(path.stem.startswith(name) for name in args.sets):
            continue
        measured = measure(path.stem, read(path, args.split))
        rows.append(measured.row())
        table.append(measured.shown())
        answers += [measured.answers()] if measured.right_after else []
        for line in measured.samples(args.samples):
            print(line)
    if not rows:
        raise SystemExit(f"{args.folder}: found no file NAME.jsonl; name a folder of traces")
    print_table(table)
    if answers:
        print("\nanswers that were right and still are, edits not undone")
        print_table(answers)
    print_json({"rows": rows})


def read(path: Path, split: str) -> list[Judged]:
    """The traces of a file with their verdicts and spans; wrong ones too."""
    settings = FilterSettings(config=Filter(), skip=("verify", "select"))
    with tempfile.TemporaryDirectory() as staging:
        records = [
            record for unit in cut(path, Path(staging), 1 << 20) for record in read_unit(unit)
        ]
    chosen = [one for one in records if isinstance(one, Trace) and in_split(one.id, split)]
    with Verifiers() as verifiers:
        return examine(chosen, FilterContext(settings), verifiers)


def in_split(name: str, split: str) -> bool:
    """Whether a trace belongs to a half: one to look at, one that is only scored."""
    odd = hashlib.sha256(name.encode()).digest()[0] % 2
    return split == "all" or (split == "score") == bool(odd)


# --- what a set is


def kind_of(judged: Sequence[Judged]) -> str:
    """worked, closed, given, statements or other."""
    answers = [(expected(one), one) for one in judged]
    short = [(answer, one) for answer, one in answers if answer]
    said = [answer.lower().strip(" .") for answer, _ in short]
    if sum(answer in YES_NO for answer in said) > len(judged) / 2:
        return "given" if median(map(told_fraction, judged)) > 0.6 else "statements"
    facts = [(answer, one) for answer, one in short if is_words(answer)]
    if len(facts) > len(judged) / 2:
        stands = sum(bool(places(answer, one.one.trace.prompt())) for answer, one in facts)
        return "given" if stands > len(facts) / 2 else "closed"
    return "worked" if any(one.reference.gold for one in judged) else "other"


def expected(judged: Judged) -> str:
    """The reference, or a short final answer where there is none; empty: neither."""
    if judged.reference.gold:
        return judged.reference.gold
    trace = judged.one.trace
    answer = final_answer(trace.last_reply() or "") or ""
    single = sum(message["role"] == "assistant" for message in trace.messages) == 1
    return answer if single and len(answer.split()) <= MOST_ANSWER_WORDS else ""


def is_words(answer: str) -> bool:
    """Whether an answer is a name or a thing: no number, formula, choice, yes or no."""
    words = WORD.findall(LATEX.sub("", answer))
    plain = "\\" not in answer and "=" not in answer
    return plain and any(len(word) > 2 and word.lower() not in YES_NO for word in words)


def told_fraction(judged: Judged) -> float:
    """Share of the words of the replies that the prompt has, 0..1."""
    given = {word.lower() for word in WORD.findall(judged.one.trace.prompt())}
    said = [word.lower() for word in WORD.findall(judged.one.trace.replies())]
    return sum(word in given for word in said) / max(len(said), 1)


def places(answer: str, text: str) -> list[tuple[int, int]]:
    """Where an answer stands in a text, as whole words in any case."""
    wanted = re.escape(answer.strip(" ."))
    found = re.finditer(rf"(?<!\w){wanted}(?!\w)", text, re.IGNORECASE) if wanted else ()
    return [match.span() for match in found]


def is_foreign(text: str) -> bool:
    """Whether a text is in another language than English."""
    words = [word.lower() for word in WORD.findall(text)]
    letters = sum(map(len, words))
    if not letters or len(FOREIGN_LETTERS.findall(text)) > 0.3 * letters:
        return bool(letters)
    counts = Counter(name for word in words for name, known in COMMON.items() if word in known)
    name, most = counts.most_common(1)[0] if counts else ("en", 0)
    return name != "en" and most > 1.5 * counts["en"] and most > 0.1 * len(words)


# --- what becomes of it


@dataclass
class Measured:
    """The counts of a set; a rate is (hits, of how many)."""

    name: str
    kind: str
    judged: Sequence[Judged]
    words: int = 0
    touched: list[tuple[Examined, Span]] = field(default_factory=list)
    rates: dict[str, list[int]] = field(default_factory=dict)
    right_after: dict[str, list[int]] = field(default_factory=dict)
    right: int = 0
    half_scrubbed: int = 0

    def count(self, name: str, hits: int, total: int = 1) -> None:
        """Adds to a rate."""
        rate = self.rates.setdefault(name, [0, 0])
        rate[0], rate[1] = rate[0] + hits, rate[1] + total

    def rate(self, name: str) -> float | None:
        """A rate, 0..1; None: the set has no measure for it."""
        hits, total = self.rates.get(name, (0, 0))
        return round(hits / total, 4) if total else None

    def row(self) -> dict[str, Any]:
        """The set's line for programs."""
        after: dict[str, float | None] = dict.fromkeys(ACTIONS)
        after |= {action: round(hits / n, 4) for action, (hits, n) in self.right_after.items()}
        rates = ("gold_found", "gold_scrubbed", "sentences_touched")
        return {
            "set": self.name,
            "n": len(self.judged),
            "right": self.right,
            "declined": self.rate("declined"),
            "touched_per_1000": round(1000 * len(self.touched) / max(self.words, 1), 2),
            "right_after": after,
            **{name: self.rate(name) for name in rates},
            "half_scrubbed": self.half_scrubbed,
        }

    def shown(self) -> dict[str, Any]:
        """The set's line for people: rates with Wilson's interval and how many they are of."""
        line = {"set": self.name, "kind": self.kind, "n": len(self.judged), "right": self.right}
        line["touched/1000"] = self.row()["touched_per_1000"]
        for name, (hits, total) in self.rates.items():
            line[name] = shown(hits, total)
        return line | {"half": self.half_scrubbed}

    def answers(self) -> dict[str, str]:
        """By action, how many right answers still were."""
        rates = {action: shown(*rate) for action, rate in self.right_after.items()}
        return {"set": self.name, **rates}

    def samples(self, count: int) -> Iterator[str]:
        """Touched spans in their context, spread over the set."""
        step = max(len(self.touched) // max(count, 1), 1)
        for one, span in self.touched[::step][:count]:
            text = one.trace.messages[span.message]["content"]
            before = text[max(span.start - CONTEXT, 0) : span.start]
            line = f"{before}>>{span.original}<<{text[span.end : span.end + CONTEXT]}"
            yield f"{self.name} {one.trace.id} {span.kind}: {' '.join(line.split())}"


def shown(hits: int, total: int) -> str:
    """A rate as text: "0.012 [0.003, 0.04] of 170"."""
    if not total:
        return "-"
    low, high = wilson(hits, total)
    return f"{hits / total:.3f} [{low:.3f}, {high:.3f}] of {total}"


def measure(name: str, judged: Sequence[Judged]) -> Measured:
    """Everything that is counted of a set."""
    found = Measured(name, kind_of(judged) if judged else "other", judged)
    scrubbers = {action: _scrubber(action) for action in ACTIONS}
    for one in judged:
        trace, wrong = one.one.trace, one.one.trace.verdict == Verdict.WRONG
        found.right += trace.verdict == Verdict.CORRECT
        if one.one.reason is not None:
            continue
        _count_facts(found, one)
        if wrong and found.kind != "closed":
            continue  # the filter drops it
        _count_decline(found, one, scrubbers[Action.ABSTAIN])
        found.words += sum(len(text.split()) for text in _replies(trace))
        touched = _ungrounded(one.one)
        found.touched += [(one.one, span) for span in touched]
        found.half_scrubbed += bool(touched) and is_foreign(trace.replies())
        if trace.verdict == Verdict.CORRECT and found.kind in ("worked", "given"):
            _count_right(found, one, scrubbers)
    return found


def _scrubber(action: Action) -> Scrubber:
    return FilterContext(FilterSettings(config=Filter(ungrounded_action=action))).scrubber


def _replies(trace: Trace) -> list[str]:
    return [m["content"] for m in trace.messages if m["role"] == "assistant"]


def _ungrounded(one: Examined) -> list[Span]:
    return [span for span in one.spans if span.grounding == Grounding.UNGROUNDED]


def _count_decline(found: Measured, judged: Judged, scrubber: Scrubber) -> None:
    """Whether a message of the trace is declined: as the filter does it, and where nobody has
    judged the answer.

    Of a closed set only traces count whose answer was recalled: no yes or no, none of the prompt.
    """
    trace, answer = judged.one.trace, expected(judged)
    if found.kind == "closed" and (not is_words(answer) or places(answer, trace.prompt())):
        return
    for name, seen in (
        ("declined", trace),
        ("declined, unjudged", replace(trace, verdict=Verdict.UNKNOWN)),
    ):
        done = scrubber.act(seen, judged.one.spans)
        found.count(name, any(span.action == Action.ABSTAIN for span in done.spans))


def _count_right(found: Measured, judged: Judged, scrubbers: dict[Action, Scrubber]) -> None:
    """Whether a right answer is still right after each action, nothing undone."""
    for action, scrubber in scrubbers.items():
        done = scrubber.act(judged.one.trace, judged.one.spans)
        hits = found.right_after.setdefault(action, [0, 0])
        before, after = (one.last_reply() or "" for one in (judged.one.trace, done))
        unchanged = judged.one.trace.verdict == Verdict.CORRECT and says_the_same(before, after)
        gold = judged.reference.gold
        hits[0] += unchanged or verify(after, gold)[0] == Verdict.CORRECT
        hits[1] += 1


def _count_facts(found: Measured, judged: Judged) -> None:
    """Answers that were found or scrubbed, and sentences of the thought that were touched."""
    trace, answer = judged.one.trace, expected(judged)
    ranges = [(span.message, span.start, span.end) for span in _ungrounded(judged.one)]
    if found.kind == "statements" or (found.kind == "given" and answer.lower() in YES_NO):
        name = "sentences_touched" if found.kind == "statements" else "gold_scrubbed"
        for sentence in _thought(trace):
            found.count(name, any(sentence[0] < e and s < sentence[1] for _, s, e in ranges))
        return
    given = bool(places(answer, trace.prompt()))
    if answer.lower() in YES_NO or found.kind not in ("closed", "given"):
        return
    if given == (found.kind == "closed"):
        return
    name = "gold_scrubbed" if given else "gold_found"
    for number, message in enumerate(trace.messages):
        if message["role"] == "assistant":
            for start, end in places(answer, message["content"]):
                hit = any(n == number and s < end and start < e for n, s, e in ranges)
                found.count(name, hit)


def _thought(trace: Trace) -> Iterator[tuple[int, int]]:
    """Where the sentences of the last message's thought stand."""
    text = trace.last_reply() or ""
    end = len(text) - len(after_thought(text) or "")
    for sentence in split_sentences(text):
        start, stop = sentence.tokens[0].start, sentence.tokens[-1].end
        if stop <= end and any(token.kind == "word" for token in sentence.tokens[1:]):
            yield start, stop


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_traces", description=__doc__)
    parser.add_argument("folder", help="of files NAME.jsonl, a set each")
    parser.add_argument(
        "--split",
        choices=("all", "look", "score"),
        default="all",
        help="half of the traces, by a hash of the id: one to look at, one only to score",
    )
    parser.add_argument("--sets", nargs="+", help="only sets whose names begin so")
    parser.add_argument(
        "--samples", type=int, default=0, help="touched spans of each set to print in context"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
