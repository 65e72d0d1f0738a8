"""The words that rows, recipes and reports are written in, one enum a kind of word.

A member is a plain `str` wherever it is written, compared, hashed or printed: JSON, Parquet and
YAML hold "correct", not "Verdict.CORRECT", and rows read from disk compare equal to members.
"""

from enum import StrEnum
from typing import NoReturn


class Word(StrEnum):
    """Base of the enums: a member prints as its text, also in an error message."""

    __repr__ = str.__repr__

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"got {value!r}, expected one of {', '.join(cls)}")


class StageName(Word):
    """The stages of a run, in the order in which they run."""

    TEACHER = "teacher"
    GENERATE = "generate"
    FILTER = "filter"
    DISTILL = "distill"
    EDIT = "edit"
    EVALUATE = "evaluate"
    PUBLISH = "publish"


class Role(Word):
    """Who speaks in a message of a conversation."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class FinishReason(Word):
    """Why a completion ended."""

    STOP = "stop"  # the model ended it
    LENGTH = "length"  # the token limit ended it: truncated
    REFUSED = "refused"  # a server gave an error in place of an answer


class Verdict(Word):
    """What verification says of a teacher's answer."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # there is no reference, or the verifier failed


class Grounding(Word):
    """Where a stated fact comes from."""

    GIVEN = "given"  # it stands in the prompt
    DERIVED = "derived"  # it follows from what was given
    COMMON = "common"  # common knowledge
    UNGROUNDED = "ungrounded"  # recalled from the weights


class Action(Word):
    """What the filter does with an ungrounded fact."""

    ABSTAIN = "abstain"  # the message is replaced by "I do not know."
    MASK = "mask"  # the text stays, its tokens have no weight in the loss
    HIDE = "hide"  # a general word takes its place
    RENAME = "rename"  # another name of the same kind takes its place
    GENERALISE = "generalise"  # a vaguer date or quantity takes its place
    DROP = "drop"  # the whole trace is left out
    KEEP = "keep"  # the fact is recorded, nothing else
    LOOKUP = "lookup"  # the trace becomes one that looks the fact up


class Kind(Word):
    """What a span holds: one of FACT_KINDS, or a piece of a conversation."""

    PERSON = "person"
    PLACE = "place"
    ORGANISATION = "organisation"
    TITLE = "title"
    NAME = "name"  # a name of unknown kind
    DATE = "date"
    QUANTITY = "quantity"  # a number with a unit
    NUMBER = "number"
    RESULT = "result"  # a number computed from ungrounded ones
    STATEMENT = "statement"  # a sentence that an audit names
    ANSWER = "answer"  # a short final answer
    PASSAGE = "passage"  # words of a text that is known by heart
    MESSAGE = "message"  # a whole message
    PROMPT = "prompt"  # a prompt that was rewritten
    CALL = "call"  # a tool call
    STEP = "step"  # a step of reasoning that a review found unsound
    WORD = "word"  # a word that was masked at random
    SAMPLE = "sample"  # a span that a check put there


FACT_KINDS = tuple(Kind)[: tuple(Kind).index(Kind.ANSWER) + 1]


class ToolName(Word):
    """The tools that a model may call."""

    LOOKUP = "lookup"
    PYTHON = "python"


class Arm(Word):
    """The students that are trained side by side; they differ in span actions only."""

    STUDENT = "student"
    CONTROL = "control"  # the teacher's own text, nothing masked
    SCRUB_ONLY = "scrub_only"  # the teacher's own text, ungrounded facts masked
    RANDOM_MASK = "random_mask"  # the teacher's own text, as many words masked at random


class Contender(Word):
    """Who stands on the scorecard, beside what evaluate.models names."""

    TEACHER = "teacher"
    BASE = "base"  # the student before training
    STUDENT = "student"
    CONTROL = "control"
    SCRUB_ONLY = "scrub_only"
    RANDOM_MASK = "random_mask"
    EDITED = "edited"
    EDIT_UNHEALED = "edit_unhealed"
    EDIT_SVD = "edit_svd"
    EDIT_RANDOM = "edit_random"
    EDIT_PCA = "edit_pca"
    NEVER_TRAINED = "never_trained"  # the student on facts that nobody trained


# the contenders that the stage edit makes
EDITED = tuple(one for one in Contender if one.startswith("edit"))


class Suite(Word):
    """A set of questions that measures one ability."""

    REASONING = "reasoning"
    OPEN_BOOK = "open_book"
    COUNTERFACTUAL = "counterfactual"
    OFF_MANIFOLD = "off_manifold"
    DISTRACTED = "distracted"
    BASICS = "basics"
    RECALL = "recall"
    RECALL_NEVER_TRAINED = "recall_never_trained"
    RECALL_TEACHER_ONLY = "recall_teacher_only"
    UNANSWERABLE = "untold"  # the fact that is asked for was not given
    MULTI_HOP = "multi_hop"
    LONG_SUMS = "long_sums"


class Split(Word):
    """Which part of the facts and problems, by the hash of the item."""

    TRAINING = "training"
    SELECT = "select"  # for probes, checkpoint choice and searches
    REPORT = "report"  # for the scorecard


class AnswerMode(Word):
    """How a question is asked."""

    FREE = "free"
    NOTE = "note"  # the thought is begun for the model
    CHOICE = "choice"  # the likeliest of given values


class BaseState(Word):
    """The state of the knowledge base while a question is asked."""

    NONE = ""  # no tools, and no base
    FULL = "FULL"
    DELETED = "DELETED"  # the passages about the question are gone
    OFF = "OFF"
    SWAPPED = "SWAPPED"  # the passages say another value


class Outcome(Word):
    """What became of a contender's answer; never a truth value."""

    CORRECT = "correct"
    WRONG = "wrong"
    ABSTAINED = "abstained"
    UNPARSED = "unparsed"
    TRUNCATED = "truncated"
