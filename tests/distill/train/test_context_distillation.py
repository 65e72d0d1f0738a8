"""Context to weights: the adapter learns what the document says, and the core is the same to the
bit before and after.
"""

from dataclasses import replace

import pytest
import torch

from distill.adapters import with_adapter
from distill.engines.local import LocalEngine
from distill.engines.protocol import Sampling
from distill.loss.learner import Learner, Objective
from distill.models import build_model, load_model, load_tokenizer, save_model
from distill.train.context_distillation import AnswerPair, Lesson, paired_batch, sleep
from recipes.errors import ModelError, RecipeError
from recipes.schema import Lora, Model
from recipes.schema.sleep import Sleep
from tests.distill.conftest import TINY

UNTIED = replace(TINY, tie_embeddings=False)  # a tied model of no skill says the last token again
LESSONS = [
    Lesson(f"Where does {name} live?", f"The home of {name} is {town}.")
    for name, town in (("Mara", "Oslo"), ("Ida", "Rome"))
]
CONFIG = Sleep(
    num_facts=2,
    steps=60,
    batch_sequences=8,
    rehearsal_fraction=0.25,
    learning_rate=0.02,
    rank=8,
    max_new_tokens=6,
)


@pytest.fixture(scope="module")
def slept(tmp_path_factory, tokenizer):
    """A model of no skill, taught to end its answers, in a folder; the folder of its sleep; the
    notes; its weights before.
    """
    folder = tmp_path_factory.mktemp("sleep")
    model = build_model(UNTIED, tokenizer, seed=4).eval()
    # whatever it says first ends its answer
    model.generation_config.eos_token_id = list(range(len(tokenizer)))
    save_model(model, tokenizer, folder / "core")
    model.generation_config.eos_token_id = list(range(len(tokenizer)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    notes = sleep(model, tokenizer, LESSONS, [Lesson("Sort 3 1 2.")], CONFIG, folder, seed=1)
    return model, folder, notes, before


def answers(model, tokenizer, prompts):
    ids = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": p}], add_generation_prompt=True, return_dict=False
        )
        for p in prompts
    ]
    with torch.no_grad():
        return [
            torch.log_softmax(model(input_ids=torch.tensor([one])).logits[0, -1], -1) for one in ids
        ]


def test_the_divergence_falls_and_the_core_is_untouched(slept):
    model, _, notes, before = slept
    assert notes["documents"] == 2 and notes["last_loss"] < 0.3 * notes["first_loss"]
    assert not any("lora" in name for name, _ in model.named_modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_adapter_says_without_the_document_what_the_core_says_with_it(slept, tokenizer):
    _, folder, _, _ = slept
    core = load_model(Model(path=str(folder / "core"))).eval()
    shown = answers(core, tokenizer, [f"{lesson.document} {lesson.question}" for lesson in LESSONS])
    bare = answers(core, tokenizer, [lesson.question for lesson in LESSONS])
    learned = with_adapter(core, folder / "adapter")
    after = answers(learned, tokenizer, [lesson.question for lesson in LESSONS])
    for with_document, without, slept_on in zip(shown, bare, after, strict=True):
        apart = [
            float((with_document.exp() * (with_document - other)).sum())
            for other in (without, slept_on)
        ]
        assert apart[1] < 0.3 * apart[0]
    removed = learned.unload()
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            answers(removed, tokenizer, [q.question for q in LESSONS]), bare, strict=True
        )
    )


def test_an_engine_speaks_with_the_adapter(slept, tokenizer):
    _, folder, _, _ = slept
    learned = with_adapter(load_model(Model(path=str(folder / "core"))), folder / "adapter")
    engine = LocalEngine(
        learned, load_tokenizer(Model(path=str(folder / "core"))), batch_sequences=2
    )
    assert (
        len(
            engine.complete(
                [[{"role": "user", "content": LESSONS[0].question}]], Sampling(max_new_tokens=4)
            )
        )
        == 1
    )


def test_the_divergence_is_the_textbook_one(tokenizer):
    """Against a plain computation, a row at a time, with different prompt and answer lengths in one
    batch.
    """
    from distill.adapters import add_lora

    torch.manual_seed(0)
    learner = add_lora(build_model(TINY, tokenizer, seed=4), Lora(rank=4), seed=1)
    for name, weight in learner.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    batch = [
        AnswerPair([7, 8, 9, 10, 11, 12], [7, 11, 12], 2),
        AnswerPair([7, 8, 9, 20, 21, 22, 23], [30, 31, 20, 21, 22, 23], 4),
    ]
    total, tokens = 0.0, 0
    with torch.no_grad():
        for pair in batch:
            student = torch.log_softmax(
                learner(input_ids=torch.tensor([pair.student])).logits[
                    0, -pair.answer_tokens - 1 : -1
                ],
                -1,
            )
            with learner.disable_adapter():
                teacher = torch.log_softmax(
                    learner(input_ids=torch.tensor([pair.teacher])).logits[
                        0, -pair.answer_tokens - 1 : -1
                    ],
                    -1,
                )
            total, tokens = (
                total + float((teacher.exp() * (teacher - student)).sum()),
                tokens + pair.answer_tokens,
            )
    packed, signal = paired_batch(learner, batch)
    with Learner(learner, Objective()) as measured:
        loss, sums = measured(packed, signal)
    assert float(loss.detach()) == pytest.approx(total, rel=1e-4)
    assert int(packed.taught().sum()) == tokens == int(sums.watched_tokens)


def test_faults_are_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        with_adapter(torch.nn.Linear(1, 1), tmp_path)
    with pytest.raises(RecipeError, match=r"sleep\.rehearsal_fraction"):
        Sleep(rehearsal_fraction=1.0)
