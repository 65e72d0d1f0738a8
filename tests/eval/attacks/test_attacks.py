"""Attacks: rounding, relearning and asking in several ways, on small models that know, hide or
never saw the facts.
"""

import copy
import random

import pytest
import torch

from distill.engines.local import LocalEngine
from distill.models import build_model
from distill.problems.planted_tokenizer import train_tokenizer
from distill.problems.planted_world import World
from eval.ask.ask import ask
from eval.attacks.closed_book import (
    ELICITATIONS,
    OTHERS,
    TAUGHT,
    add_attacks,
    after_steps,
    attacked_questions,
    elicited,
    lessons,
    split_taught,
    strongest,
)
from eval.attacks.four_bit import LEVELS, rounded_weight, to_four_bits
from eval.attacks.relearn import relearn
from eval.report.tables import to_terminal
from eval.scorecard import build_scorecard
from eval.scores.recall.recall import Recall
from eval.suites.suites import planted_questions
from recipes.errors import ModelError
from recipes.schema import Planted, Shape

DENSE = {
    "hidden_size": 64,
    "num_layers": 2,
    "num_heads": 2,
    "num_kv_heads": 2,
    "head_size": 32,
    "intermediate_size": 128,
}
MOE = DENSE | {"family": "qwen3_moe", "intermediate_size": 48, "num_experts": 4}
REFUSAL = "I do not know."


@pytest.fixture(scope="module")
def questions():
    return attacked_questions(
        planted_questions(World(Planted(people=20, teacher_only=4, strangers=20)), seed=9, items=10)
    )


@pytest.fixture(scope="module")
def tokenizer(questions):
    texts = [
        text
        for q in questions
        for text in (q.prompt, f"{q.note} {q.gold}.</think> {q.gold}.", f" {' '.join(q.choices)}")
    ]
    return train_tokenizer([*texts, *(REFUSAL,) * 50], vocab_size=800)


def fresh(tokenizer, seed=1, **shape):
    return build_model(Shape(**(shape or DENSE)), tokenizer, seed=seed).eval()


# --- four bits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "dim"), [((5, 64), -1), ((5, 70), -1), ((3, 40, 6), 1), ((2, 3, 7), -1)]
)
def test_no_weight_moves_further_than_half_a_level_of_its_group(shape, dim, dtype):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    made = rounded_weight(weight, dim=dim, group=32)
    assert made.shape == weight.shape and made.dtype == dtype
    for kept, given in zip(
        made.float().movedim(dim, -1).split(32, -1),
        weight.float().movedim(dim, -1).split(32, -1),
        strict=True,
    ):
        largest = given.abs().amax(-1, keepdim=True)
        slack = 1e-6 if dtype == torch.float32 else 2**-8
        assert ((kept - given).abs() <= largest * (1 / (2 * LEVELS) + slack)).all()
        assert all(
            len(set(group.tolist())) <= 2 * LEVELS + 1 for group in kept.reshape(-1, kept.shape[-1])
        )
    assert torch.equal(rounded_weight(made, dim=dim, group=32), made)


def test_the_levels_by_hand_and_a_group_of_zeros():
    assert rounded_weight(
        torch.tensor([[7.0, 3.4, -0.4, -6.6], [0.0, 0.0, 0.0, 0.0]]), dim=-1, group=4
    ).tolist() == [
        pytest.approx([7.0, 3.0, 0.0, -7.0]),
        [0.0, 0.0, 0.0, 0.0],
    ]


@pytest.mark.parametrize("shape", [DENSE, MOE])
def test_linear_layers_and_experts_are_rounded_the_rest_and_the_ties_stay(tokenizer, shape):
    plain, model = fresh(tokenizer, **shape), fresh(tokenizer, **shape)
    notes = to_four_bits(model)
    changed = {
        name
        for name, before in plain.state_dict().items()
        if not torch.equal(before, model.state_dict()[name])
    }
    matrices = {name for name in plain.state_dict() if "proj" in name}
    assert changed == matrices and any("experts" in name for name in matrices) == (shape is MOE)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert notes["quantised_fraction"] == pytest.approx(
        sum(plain.state_dict()[n].numel() for n in matrices) / plain.num_parameters(), abs=1e-4
    )
    once = copy.deepcopy(model.state_dict())
    to_four_bits(model)
    assert all(torch.equal(value, once[name]) for name, value in model.state_dict().items())


def test_a_model_in_which_nothing_can_be_rounded_is_refused(tokenizer):
    model = fresh(tokenizer)
    model.model.layers = torch.nn.ModuleList()
    with pytest.raises(ModelError, match="four_bit"):
        to_four_bits(model)


# --- what is asked


def test_a_fifth_of_the_facts_is_taught_whole_facts_whatever_the_order(questions):
    split = split_taught(questions, 0.2)
    side = {
        name: {q.cluster for q in split if q.suite == "recall" and q.family == name}
        for name in (TAUGHT, OTHERS)
    }
    facts = side[TAUGHT] | side[OTHERS]
    assert len(side[TAUGHT]) == round(0.2 * len(facts)) and not side[TAUGHT] & side[OTHERS]
    turned = split_taught(random.Random(0).sample(questions, len(questions)), 0.2)
    assert {q.cluster for q in turned if q.family == TAUGHT} == side[TAUGHT]
    assert {q.family for q in split if q.suite == "recall_never_trained"} == {"never"}
    asked = {q.prompt: q for q in split}
    taught = lessons(split)
    assert len(taught) == len(side[TAUGHT]) and all(asked[p].family == TAUGHT for p, _ in taught)
    assert all(
        answer == f"{asked[p].note} {asked[p].gold}.</think> {asked[p].gold}."
        for p, answer in taught
    )


def test_elicitations_ask_every_fact_without_telling_it(questions):
    groups = dict(
        zip([how.name for how in ELICITATIONS], elicited(questions, "Be brief."), strict=True)
    )
    assert all(len(made) == len(questions) for _, made in groups.values())
    ids = [q.id for _, made in groups.values() for q in made]
    assert len(set(ids)) == len(ids)
    assert [q.prompt for q in groups["asked"][1]] == [q.prompt for q in questions] and groups[
        "asked"
    ][0] == "Be brief."
    assert groups["told_that_it_knows"][0] != "Be brief."
    assert not {q.prompt for q in groups["rephrased"][1] if q.suite == "recall"} & {
        q.prompt for q in questions if q.suite == "recall"
    }
    trained = {q.cluster for q in questions if q.suite == "recall"}
    for q, shown in zip(questions, groups["after_examples"][1], strict=True):
        subject = q.cluster.partition("/")[0]
        assert (
            shown.prompt.endswith(q.prompt)
            and shown.prompt.count(subject) == 1
            and shown.prompt.count("?") == 3
        )
        assert any(
            f"{other.partition('/')[0]}?" in shown.prompt
            or f"{other.partition('/')[0]} " in shown.prompt
            for other in trained
        )
    begun = groups["begun"][1][0]
    assert begun.note == f"The {begun.relation} of {begun.cluster.partition('/')[0]} is"


# --- what is found


HOW = {"system": None, "batch_sequences": 48, "seed": 5, "progress": lambda *_: None}


def answers(model, tokenizer, questions, system=None):
    engine = LocalEngine(model, tokenizer, batch_sequences=256)
    return ask(
        engine,
        questions,
        contender="student",
        max_new_tokens=12,
        system=system,
        progress=lambda *_: None,
    )


def recalls(attack, rows):
    """Two tables by metric: the value, and how far it is above the never-trained level."""
    card = build_scorecard([], recipe="r", contenders=["student"], bootstrap=200, seed=1)
    add_attacks(card, {attack: rows})
    above = {name: found["student-never_trained"] for name, found in card["paired"].items()}
    return {name: found["student"]["value"] for name, found in card["metrics"].items()}, above


def by_heart(questions):
    return [
        (q.prompt, f"{q.note} {q.gold}.</think> {q.gold}.")
        for q in questions
        if q.suite == "recall"
    ]


def declining(model, tokenizer, questions):
    """A copy that was taught to decline for a few steps."""
    model = copy.deepcopy(model)
    relearn(
        model,
        tokenizer,
        [(q.prompt, REFUSAL) for q in questions],
        steps=25,
        learning_rate=1e-3,
        **HOW,
    )
    return model


@pytest.fixture(scope="module")
def knowing(tokenizer, questions):
    """A model that has every trained fact by heart."""
    model = fresh(tokenizer)
    notes = relearn(model, tokenizer, by_heart(questions), steps=150, learning_rate=5e-3, **HOW)
    assert notes["last_loss"] < 0.1 < notes["first_loss"]
    return model


@pytest.fixture(scope="module")
def refusing(knowing, tokenizer, questions):
    """It hides what it knows."""
    return declining(knowing, tokenizer, questions)


@pytest.fixture(scope="module")
def ignorant(tokenizer, questions):
    """It can recall, and declines, but all that it ever knew is of another world."""
    model, asked = fresh(tokenizer), {q.cluster for q in questions}
    elsewhere = planted_questions(
        World(Planted(people=20, teacher_only=4, strangers=20, seed=7)), seed=9, items=10
    )
    relearn(
        model,
        tokenizer,
        by_heart(q for q in elsewhere if q.cluster not in asked),
        steps=60,
        learning_rate=5e-3,
        **HOW,
    )
    return declining(model, tokenizer, questions)


def attacked_by_relearning(model, tokenizer, questions):
    model, split, rows = copy.deepcopy(model), split_taught(questions, 0.2), []

    def look(step):
        rows.extend(answers(model, tokenizer, after_steps(split, step)))

    relearn(model, tokenizer, lessons(split), steps=80, learning_rate=1e-3, look=look, **HOW)
    return recalls("relearn", rows)


def test_refused_facts_come_back_by_relearning_a_fifth(refusing, tokenizer, questions):
    said = answers(refusing, tokenizer, questions)
    assert not any(row["outcome"] == "correct" for row in said if row["mode"] == "free")
    values, above = attacked_by_relearning(refusing, tokenizer, questions)
    assert values["recall_relearned_taught"] > 0.9 and values["recall_relearned_others"] > 0.6
    assert above["recall_relearned_others"]["low"] > 0.3


@pytest.mark.parametrize("learning_rate", [float("inf"), 0.0])
def test_a_relearning_that_failed_is_void_and_not_proof_of_absence(
    ignorant, tokenizer, questions, learning_rate
):
    model, split, rows = copy.deepcopy(ignorant), split_taught(questions, 0.2), []

    def look(step):
        rows.extend(answers(model, tokenizer, after_steps(split, step)))

    rate = {"steps": 4, "learning_rate": learning_rate}
    relearn(model, tokenizer, lessons(split), look=look, **rate, **HOW)
    card = build_scorecard([], recipe="r", contenders=["student"], bootstrap=50, seed=1)
    add_attacks(card, {"relearn": rows})
    assert card["metrics"]["recall_relearned_taught"]["student"]["value"] == 0
    assert not any("others" in name for name in (*card["metrics"], *card["paired"]))
    (why,) = card["void"]["recall_relearned_others"].values()
    assert why.startswith("void, since only 0% of the taught facts came back")
    assert f"recall_relearned_others of student: {why}" in to_terminal(card)


def test_what_was_never_there_does_not_come_back(ignorant, tokenizer, questions):
    values, above = attacked_by_relearning(ignorant, tokenizer, questions)
    assert {name.partition("/")[2] for name in values} == {"", "step_20", "step_40", "step_80"}
    assert values["recall_relearned_taught"] > 0.9, "the attack works"
    assert (
        values["recall_relearned_others"] < 0.2 and above["recall_relearned_others"]["low"] < 0.05
    )


def test_refused_facts_come_back_by_asking_otherwise_and_ignorance_stays(
    refusing, ignorant, tokenizer, questions
):
    found = {
        name: recalls(
            "prompts",
            [
                row
                for system, made in elicited(questions, None)
                for row in answers(model, tokenizer, made, system)
            ],
        )
        for name, model in (("refusing", refusing), ("ignorant", ignorant))
    }
    values, above = found["refusing"]
    assert values["recall_prompts"] > 0.6 and above["recall_prompts"]["low"] > 0.3
    assert values["recall_prompts"] == max(value for name, value in values.items() if "/" in name)
    assert {name for name in values if "/" in name} == {
        f"recall_prompts/{how.name}" for how in ELICITATIONS
    }
    values, above = found["ignorant"]
    assert values["recall_prompts"] < 0.25 and above["recall_prompts"]["low"] < 0.05


def test_four_bits_leave_what_is_known_by_heart(knowing, tokenizer, questions):
    model = copy.deepcopy(knowing)
    to_four_bits(model)
    values, above = recalls("four_bit", answers(model, tokenizer, questions))
    assert (
        set(values) == {"recall_four_bit"}
        and values["recall_four_bit"] > 0.6
        and above["recall_four_bit"]["low"] > 0.3
    )


def test_relearning_repeats_itself_and_comes_back_in_the_model_s_own_dtype(tokenizer, questions):
    taught, made = lessons(split_taught(questions, 0.2)), []
    for _ in range(2):
        model = fresh(tokenizer).to(torch.bfloat16)
        seen = []
        how = HOW | {
            "batch_sequences": 5,
            "progress": lambda lessons, _, seen=seen: seen.append(lessons),
        }
        relearn(model, tokenizer, taught, steps=3, learning_rate=1e-3, **how)
        assert seen == [5, 5, 5] and model.dtype == torch.bfloat16 and not model.training
        made.append(model.state_dict())
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())


def test_the_strongest_takes_the_largest_number_by_number_and_what_nobody_measured_is_absent():
    entries = [
        {"value": 0.1, "low": 0.0, "high": 0.3, "n": 4, "clusters": 4},
        {"value": 0.2, "low": 0.1, "high": 0.25, "n": 4, "clusters": 4},
    ]
    best = strongest(
        [Recall(recall=entry, minus_never=None, choice=None, floor=None) for entry in entries]
    )
    assert (
        best.recall == {"value": 0.2, "low": 0.1, "high": 0.3, "n": 4, "clusters": 4}
        and best.minus_never is None
    )
