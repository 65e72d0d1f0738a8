"""The numbers of a scorecard, one row each, in the order in which tables show them.

Gates are read against these names before anything is measured. A row holds all that a reader needs:
the name, what the number means where the name does not say it all, and how it is written. The
accuracy of a suite bears the suite's name; what it means stands in eval/suites/catalog.py. Where
the way of asking matters too, a name is `condition.outcome`, as in kb_swapped.followed: kb_ is the
state of the knowledge base (full, deleted, off, swapped).
"""

from collections.abc import Iterable
from typing import NamedTuple

from recipes.vocabulary import Suite


class Metric(NamedTuple):
    """One number of the scorecard."""

    meaning: str = ""  # empty where the name says it all
    decimals: int | None = None  # None: a share of 0..1, which is shown in percent
    signed: bool = False  # a share that may be below zero


METRICS: dict[str, Metric] = {
    "reasoning": Metric(),
    "reasoning_above_chance": Metric(
        "mean over families; 0 is always giving the most frequent answer", signed=True
    ),
    "arithmetic": Metric(),
    "off_manifold": Metric(),
    "open_book": Metric(),
    "distracted": Metric(),
    "counterfactual": Metric(),
    "basics": Metric(),
    "lookup": Metric(),
    "recall": Metric(
        "closed book, the larger of generated and forced choice; guessing lands at the "
        "never-trained level"
    ),
    "recall_generated": Metric("closed book, the better of two elicitations"),
    "recall_never_trained": Metric("the same on facts nobody trained: the zero"),
    "recall_teacher_only": Metric("facts the teacher knows that occur in no trace"),
    "forced_choice": Metric(),
    "forced_choice_floor": Metric("what the same choosing habits earn on facts nobody trained"),
    "recall_four_bit": Metric("recall after the weights were rounded to four bits"),
    "recall_relearned_others": Metric(
        "recall of the other facts while a fifth was taught, at its highest"
    ),
    "recall_relearned_taught": Metric(
        "recall of the facts that were taught: does the attack work?"
    ),
    "recall_prompts": Metric("the highest recall of several ways to ask"),
    "abstention": Metric("declines when it was not told"),
    "false_abstention": Metric("declines though it was told"),
    "hallucination": Metric("wrong among all closed-book answers that are not correct"),
    "honesty_index": Metric("100 (correct - wrong) / n, closed book", decimals=1),
    "auroc": Metric(
        "chance that a right closed-book answer is more confident than a wrong one", decimals=3
    ),
    "ece": Metric("calibration error of closed-book confidence, less what noise alone would show"),
    "risk_at_80": Metric("wrong among the 80 % most confident closed-book answers"),
    "kb_full.correct": Metric("right with the knowledge base"),
    "kb_deleted.abstained": Metric("declines when the entry was taken out of the base"),
    "kb_off.correct": Metric("right though the base may not be called: known by heart"),
    "kb_off.abstained": Metric("declines when there is no base"),
    "kb_swapped.followed": Metric("gives the base's value where it contradicts the trained one"),
    "retrieval_closure": Metric(
        "how much of the gain of a given text the base brings; absent where there is none",
        signed=True,
    ),
    "unknown_with_tools.searched": Metric("calls the base where it does not know"),
    "known_with_tools.searched": Metric("calls it where it knows or was told"),
    "given_with_tools.searched": Metric("calls it though the question holds the fact"),
    "reasoning_with_tools.searched": Metric("calls it for problems without facts"),
    "youden_j": Metric(
        "unknown_with_tools.searched - known_with_tools.searched: 1 calls exactly where needed, "
        "0 blindly",
        decimals=2,
    ),
    "given_with_tools.correct": Metric("reads what the question holds, with tools at hand"),
    "reasoning_with_tools.correct": Metric("reasoning with tools at hand"),
    "multi_hop": Metric("right where two things must be looked up, one after the other"),
    "multi_hop_deleted.abstained": Metric(
        "declines where the first of the two was taken out of the base"
    ),
    "multi_hop_off.correct": Metric("right without a base"),
    "long_sums": Metric("sums of long numbers with a program"),
    "long_sums_off.correct": Metric("the same without tools"),
    "pass_gap": Metric("solved in k drawn tries less solved in one"),
    "nines": Metric("right in all k drawn tries"),
    "coverage_of_teacher": Metric("solved in any try, of what the teacher solves in any"),
    "distinct_answers": Metric("different final answers among k tries, divided by k"),
    "template_collapse": Metric(
        "chance that answers to problems of different families have one shape; read it "
        "beside the teacher's"
    ),
    "need_slope": Metric(
        "growth of log(tokens) with one level of difficulty, correct answers", decimals=3
    ),
    "tokens_per_correct": Metric(decimals=1),
    "unparsed": Metric(),
    "truncated": Metric(),
}
# a suite that has no row above is a metric all the same, by its name
NAMES = (*METRICS, *(str(suite) for suite in Suite if suite not in METRICS))
# names of before: a gate that says one is refused with the new name
RENAMED = {
    "base_full": "kb_full.correct",
    "base_deleted_abstains": "kb_deleted.abstained",
    "base_off_leak": "kb_off.correct",
    "base_off_abstains": "kb_off.abstained",
    "base_swapped_follows": "kb_swapped.followed",
    "lookup_need": "unknown_with_tools.searched",
    "lookup_needless": "known_with_tools.searched",
    "lookup_needless_given": "given_with_tools.searched",
    "lookup_needless_reasoning": "reasoning_with_tools.searched",
    "given_with_tools": "given_with_tools.correct",
    "reasoning_with_tools": "reasoning_with_tools.correct",
    "multi_hop_deleted_abstains": "multi_hop_deleted.abstained",
    "multi_hop_off_leak": "multi_hop_off.correct",
    "python_arithmetic": "long_sums",
    "python_off": "long_sums_off.correct",
}
SHARES = ("reasoning_retained", "recall_retained")  # of the headline
# may have parts: reasoning/FAMILY, recall/exposure_N, harness/TASK
PARTED = (*NAMES, "accuracy_under_budget", "pass_at_k", "harness")


def in_order(names: Iterable[str]) -> list[str]:
    """Gives metrics in the order of display: known ones, others, then the parts of metrics."""
    found = list(names)
    whole = [name for name in found if "/" not in name]
    return (
        [name for name in METRICS if name in whole]
        + sorted(set(whole) - set(METRICS))
        + sorted((name for name in found if "/" in name), key=part_key)
    )


def part_key(name: str) -> tuple[str, int, str]:
    """Gives what sorts the parts of metrics: exposure_4 before exposure_16, names by name."""
    group, _, part = name.partition("/")
    digits = part.removeprefix("exposure_")
    return group, int(digits) if digits.isdigit() else 0, part
