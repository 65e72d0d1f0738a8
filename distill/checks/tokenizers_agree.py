"""Whether tokenizers and their chat template agree on what is taught: the same tokens, the same end
of a turn, verbatim text.
"""

from transformers import PreTrainedTokenizerBase

from data_filters.records.traces import Trace
from distill.data.encode import Teaching, encode_traces
from recipes.errors import ModelError

SAMPLE = (
    {"role": "user", "content": "What is 2 + 3?"},
    {"role": "assistant", "content": "<think>\n2 and 3 more: 5.\n</think>\n\nIt is 5."},
)
# what tokenizers of one vocabulary may still cut differently
ODDITIES = "\n\t  x_1 = 3.14159;  Caf\u00e9, 1,234 it's\u2014"


def check_same_tokens(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> None:
    """Refuses tokenizers that cut the same text differently, although they have the same
    vocabulary.

    Raises:
        ModelError: as said, with the first token that differs.
    """
    sample = [dict(message) for message in SAMPLE]
    text = str(student.apply_chat_template(sample, tokenize=False)) + ODDITIES
    theirs, ours = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for tokenizer in (teacher, student)
    )
    if theirs != ours:
        place = next(
            (n for n, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b),
            min(len(theirs), len(ours)),
        )
        cut = [
            tokenizer.convert_ids_to_tokens(ids[place : place + 1])
            for tokenizer, ids in ((teacher, theirs), (student, ours))
        ]
        raise ModelError(
            f"teacher and student cut the same text into other tokens: {cut[0]} and {cut[1]} at token {place}; a divergence needs the "
            "same: choose a student of the teacher's family, or set distill.divergence: none"
        )


def check_special_tokens(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> str:
    """Refuses a student that would end its turns, or pad, with another token than its teacher.

    A base model often ends with <|endoftext|> what its instruct model ends with <|im_end|>;
    distilled from the one, generating with the other, it never stops.

    Raises:
        ModelError: as said, with the key to set.
    """
    for name in ("eos_token", "pad_token"):
        ours, theirs = getattr(student, name), getattr(teacher, name)
        if ours != theirs:
            raise ModelError(
                f"{name} is {theirs!r} for the teacher and {ours!r} for the student; set models.student.{name}: {theirs!r} "
                f"(or models.teacher.{name}), so that the student ends as its teacher does"
            )
    return f"end {student.eos_token!r}, pad {student.pad_token!r}"


def check_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """Refuses a chat template that changes messages or drops thoughts, and one that does not end a
    turn.

    Raises:
        ModelError: as said.
    """
    trace = Trace(
        id="sample",
        problem_id="",
        source="",
        seed=0,
        messages=[dict(message) for message in SAMPLE],
    )
    (encoded,) = encode_traces([trace], tokenizer, Teaching())
    if not encoded.kl.any():
        raise ModelError(
            "the chat template renders no token of the assistant; choose another tokenizer"
        )
    end = int(encoded.ids[encoded.kl.nonzero()[0][-1]])
    if tokenizer.eos_token_id != end:
        raise ModelError(
            f"the chat template ends a turn with {tokenizer.decode([end])!r}, eos_token is {tokenizer.eos_token!r}: the student would "
            f"learn to write the one and stop at the other; set models.student.eos_token: {tokenizer.decode([end])!r}"
        )
    return f"verbatim with thoughts, {int((encoded.kl > 0).sum())} of {len(encoded.ids)} tokens of a sample are taught"
