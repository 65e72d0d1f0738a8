"""Who is compared with whom, and on what."""

from collections.abc import Sequence

import numpy as np

from eval.scores.answers.columns import Columns, select
from eval.scores.answers.sheet import Sheet
from eval.scores.measured import Numbers
from eval.scores.numbers import PairedDifference
from eval.scores.recall.facts import Facts
from eval.suites.catalog import ARITHMETIC, COMPARED
from recipes.vocabulary import EDITED, Arm, Contender, Outcome, Suite


def pairs(contenders: Sequence[str]) -> list[tuple[str, str]]:
    """Gives who is compared, first minus second.

    Everybody is compared with the teacher; without a teacher those of evaluate.models with the
    first of them. The student is compared with control; what was edited with arms and with its own
    controls.
    """
    outside = [
        name
        for name in contenders
        if name not in (Contender.TEACHER, Contender.BASE, *Arm, *EDITED)
    ]
    reference, compared = (
        (str(Contender.TEACHER), list(contenders))
        if Contender.TEACHER in contenders
        else ("".join(outside[:1]), outside)
    )
    against = [(name, reference) for name in compared if name != reference]
    further: list[tuple[str, str]] = [
        (Contender.STUDENT, Contender.CONTROL),
        (Contender.EDITED, Contender.STUDENT),
        (Contender.EDITED, Contender.CONTROL),
        (Contender.EDITED, Contender.EDIT_UNHEALED),
    ]
    further += [(Contender.EDIT_UNHEALED, one) for one in (Contender.CONTROL, *EDITED[2:])]
    return against + [pair for pair in further if set(pair) <= set(contenders)]


def differences(first: Sheet, second: Sheet) -> Numbers:
    """Gives what one contender gets right minus what another does, on the questions that both
    answered.
    """
    both = (first.free(), second.free())
    for suite in COMPARED:
        yield str(suite), difference(*(select(rows, suite=suite) for rows in both))
    yield (
        "arithmetic",
        difference(*(select(rows, suite=Suite.REASONING, family=ARITHMETIC) for rows in both)),
    )
    yield (
        "recall_generated",
        difference(*(_best_elicitation(sheet.main) for sheet in (first, second))),
    )


def _best_elicitation(main: Columns) -> Columns:
    """The generated answers to suite recall in the contender's better mode."""
    facts = Facts.of_suite(main, Suite.RECALL)
    return select(main, suite=Suite.RECALL, mode=(facts.best_mode() or "") if facts else "")


def difference(first: Columns, second: Columns) -> PairedDifference | None:
    """Gives right answers of the first minus those of the second, on the questions that both
    answered; None without any.

    Args:
        first: one answer a question.
        second: likewise.
    """
    common, first_at, second_at = np.intersect1d(
        first["question_id"], second["question_id"], return_indices=True
    )
    if not len(common):
        return None
    return PairedDifference(
        first["outcome"][first_at] == Outcome.CORRECT,
        second["outcome"][second_at] == Outcome.CORRECT,
        first["cluster"][first_at],
    )
