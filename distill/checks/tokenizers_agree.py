"""Whether tokenizers and their chat template agree on what is taught: the same tokens, the same end
of a turn, verbatim text.
"""

from collections import Counter
from collections.abc import Collection, Iterator

from transformers import PreTrainedTokenizerBase

from data_filters.records.tool_calls import LOOKUP, call_message, result_message, tool_schemas
from data_filters.records.traces import Trace
from distill.chat_templates.forms import form_of
from distill.data.encode import Encoded, Teaching, encode_traces
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


def check_template(
    tokenizer: PreTrainedTokenizerBase, *, tools: bool = False, ends: Collection[int] = ()
) -> str:
    """Refuses a chat template from which a student cannot learn to answer, to think, to stop or,
    if tools are offered, to call one.

    Args:
        tokenizer: of the student.
        tools: also ask for calls and their results.
        ends: ids that end its answers beside the tokenizer's own end.

    Raises:
        ModelError: as said.
    """
    taught = [_taught(tokenizer, name, talk, tools) for name, talk in _samples(tools)]
    for encoded in taught:
        end = int(encoded.ids[encoded.kl.nonzero()[0][-1]])
        if end not in (tokenizer.eos_token_id, *ends):
            found = tokenizer.decode([end])
            raise ModelError(
                f"the chat template ends a turn with {found!r}, eos_token is {tokenizer.eos_token!r}: the student would "
                f"learn to write the one and stop at the other; set models.student.eos_token: {found!r}"
            )
    form = form_of(tokenizer)
    how = {"inline": "as they are", "opened": "opened by the prompt"}
    notes = [f"thoughts {how.get(form.thought, f'by {form.thought}')}"]
    notes += ["system messages before the first question"] if form.folds_system else []
    notes += [] if form.calls else ["no tool calls"]
    num_taught = int((taught[1].kl > 0).sum())
    return f"{', '.join(notes)}; {num_taught} of {len(taught[1].ids)} tokens of a sample are taught"


def _samples(tools: bool) -> Iterator[tuple[str, list[dict[str, str]]]]:
    asked = dict(SAMPLE[0])
    yield "a plain answer", [asked, {"role": "assistant", "content": "I do not know."}]
    yield "an answer with a thought", [dict(message) for message in SAMPLE]
    if tools:
        yield (
            "a call of a tool",
            [asked, call_message(LOOKUP, "2 + 3"), result_message("5"), dict(SAMPLE[1])],
        )


def _taught(
    tokenizer: PreTrainedTokenizerBase, name: str, talk: list[dict[str, str]], tools: bool
) -> Encoded:
    """The first sequence of a sample.

    Raises:
        ModelError: the template refuses or changes it.
    """
    offers = tool_schemas(LOOKUP) if tools else None
    trace = Trace(id="sample", problem_id="", source="", seed=0, messages=talk, tools=offers)
    left_out = Counter[str]()
    found = list(encode_traces([trace], tokenizer, Teaching(), left_out=left_out))
    if left_out:
        raise ModelError(
            f"{name} cannot be taught: {next(iter(left_out))}; name another template in models.student.chat_template"
        )
    return found[0]
