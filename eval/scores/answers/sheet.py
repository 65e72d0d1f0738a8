"""The answers of one contender: all of them, and its main ones."""

from dataclasses import dataclass
from typing import Self

from eval.scores.answers.columns import Columns, changes, select
from recipes.vocabulary import AnswerMode, BaseState


@dataclass(frozen=True, slots=True)
class Sheet:
    """The answers of one contender."""

    answers: Columns  # all of them
    main: Columns  # one a question and mode, see main_answers

    @classmethod
    def of(cls, table: Columns, contender: str) -> Self:
        """Gives the sheet of a contender; without rows where it answered nothing."""
        answers = select(table, contender=contender)
        return cls(answers, main_answers(answers))

    def free(self, base: BaseState = BaseState.NONE) -> Columns:
        """Gives the free answers in one state of the base, greedy and without a token cap; without
        a base the main ones.
        """
        if base == BaseState.NONE:
            return select(self.main, mode=AnswerMode.FREE)
        return select(self.answers, base=base, mode=AnswerMode.FREE, sample=0, budget=0)


def main_answers(sheet: Columns) -> Columns:
    """Gives one answer a question and mode: the first try, without base or token cap, with the
    fewest distractors it was asked with.

    Args:
        sheet: answers of one contender, in the order of read_answers: by distractors within a
            question, so the first has the fewest.
    """
    plain = select(sheet, sample=0, base="", budget=0)
    return plain.at(changes(plain, "suite", "mode", "question_id"))
