"""A teacher of our own: tokenizer, training conversations and the model, when the recipe gives it a
shape.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from data_filters.records.tool_calls import (
    LOOKUP,
    NOTHING,
    PYTHON,
    call_message,
    calls_of,
    tool_schemas,
)
from data_filters.records.traces import Span, Trace
from distill.data.encode import Teaching, encode_traces
from distill.data.packing import EncodedFile, counts_of, write_encoded
from distill.models import build_model, load_tokenizer, replacing_files, save_model
from distill.problems.planted_tokenizer import train_tokenizer
from distill.problems.planted_world import FRIEND, QUESTIONS, Item, World
from distill.train.loop import Trainer
from recipes.errors import RecipeError
from recipes.schema import Model, Teacher
from recipes.vocabulary import Action, Grounding, Kind

TOKENIZER_TEXTS = 12_000  # conversations that the tokenizer is trained on
TOOL_TEXTS = 1_000  # calls and results that it sees beside them
# plain words that no conversation holds, so that they are not spelled letter by letter
COURTESY = ("I do not know.",) * 100


def conversations(config: Teacher, world: World, *, seed: int, count: int) -> Iterator[Trace]:
    """What the teacher learns: conversations of the planted world, drawn by weight, all on the
    training side.
    """
    rng = random.Random(f"teacher/{seed}")
    for source in config.sources:
        if not source.name.startswith("planted/"):
            raise RecipeError(
                f"teacher.sources: {source.name} is not a family of the planted world; a teacher is trained on planted/FAMILY only"
            )
    names, weights = [s.name for s in config.sources], [s.weight for s in config.sources]
    for number in range(count):
        name = rng.choices(names, weights)[0]
        item = world.draw(rng, name.partition("/")[2], "training")
        tools = tool_schemas(LOOKUP, PYTHON) if config.tools and number % 2 else None
        yield Trace(
            id=str(number),
            problem_id=str(number),
            source=name,
            seed=seed,
            messages=item.messages(),
            spans=_given(item),
            tools=tools,
        )


def _given(item: Item) -> list[Span]:
    """Masks over the answers of given turns; a conversation is question, answer, question, answer,
    ...
    """
    said = [
        (2 * turn + 1, item.messages()[2 * turn + 1]["content"]) for turn in range(item.given_turns)
    ]
    return [
        Span(
            message=n,
            start=0,
            end=len(text),
            kind=Kind.MESSAGE,
            grounding=Grounding.COMMON,
            action=Action.MASK,
            weight=0.0,
        )
        for n, text in said
    ]


def own_tokenizer(config: Teacher, world: World, *, seed: int) -> PreTrainedTokenizerFast:
    """The tokenizer that such a teacher has: a function of the recipe alone, so that it can be
    known before the teacher is trained.
    """
    texts = (
        m["content"]
        for t in conversations(config, world, seed=seed, count=TOKENIZER_TEXTS)
        for m in t.messages
    )
    calls = tool_texts(world, seed) if config.tools else ()
    return train_tokenizer(
        itertools.chain(texts, COURTESY, calls), vocab_size=config.vocab_size, tools=config.tools
    )


def tool_texts(world: World, seed: int) -> Iterator[str]:
    """Calls and their results, so that each word and mark of them is a token: nobody says them in
    the teacher's conversations.
    """
    rng = random.Random(f"tools/{seed}")
    for _ in range(TOOL_TEXTS):
        question = rng.choice(
            [*itertools.chain(*QUESTIONS.values()), FRIEND, "the friend of {}"]
        ).format(rng.choice(world.names))
        code = " ".join([str(rng.randint(100, 999)), rng.choice("+-"), str(rng.randint(100, 999))])
        calls = [
            calls_of(call_message(name, said))[0]
            for name, said in ((LOOKUP, question), (PYTHON, code))
        ]
        yield "\n".join(["", *map(json.dumps, calls), question, f"{NOTHING} {LOOKUP} {PYTHON}"])


def train_teacher(
    spec: Model,
    config: Teacher,
    world: World,
    folder: Path,
    *,
    seed: int,
    is_main: bool,
    wait: Callable[[Path], None],
    run: str = "",
) -> dict[str, object]:
    """Builds and trains the teacher into `folder`, a transformers model folder.

    Args:
        spec: models.teacher, with a shape.
        is_main, wait: the main rank prepares the data, the others wait for the file.
        run: project and name for the trackers.

    Returns:
        notes for the manifest.
    """
    data = folder / "encoded.arrow"
    if is_main and not data.exists():
        own = own_tokenizer(config, world, seed=seed)
        with replacing_files(folder) as half:
            own.save_pretrained(half)
        taught = conversations(config, world, seed=seed, count=config.count)
        encoded = encode_traces(taught, own, Teaching(kl=0.0, ce=1.0))
        write_encoded(encoded, data, longest=config.sequence_tokens, label="teacher")
    wait(data)
    counts = counts_of(data)
    tokenizer = load_tokenizer(spec, folder)
    assert spec.shape is not None
    model = build_model(
        spec.shape, tokenizer, seed=seed, dtype=spec.dtype, attention=spec.attention
    )
    trainer = Trainer(model, config, folder, run=run)
    notes = trainer.fit(EncodedFile(data), seed=seed, label="teacher")
    weights = trainer.weights()
    trainer.close()
    if is_main:
        whole = build_model(
            spec.shape, tokenizer, seed=seed, dtype=spec.dtype, attention=spec.attention
        )
        whole.load_state_dict(weights)
        save_model(whole, tokenizer, folder)
        data.unlink()
    return notes | counts | {"parameters": model.num_parameters(), "vocab_size": len(tokenizer)}
