"""What is refused before any weight is loaded: one line each."""

import copy
import dataclasses
import os
from threading import Timer

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CONFIG_MAPPING, PreTrainedTokenizerFast

from distill.checks.first_step import check_first_step
from distill.checks.machine import check_attention, check_trackers, check_zero
from distill.checks.preflight import (
    ModelPair,
    check_layers,
    check_length,
    check_plain,
    check_roles,
    skeleton,
    teacher_checks,
)
from distill.checks.tokenizers_agree import check_special_tokens, check_template
from distill.models import build_config, load_config, load_tokenizer
from distill.train.accelerator import release_builds_of_the_dead
from recipes.errors import ModelError, PipelineError, TrainingError
from recipes.schema import Distill, Lora, Model, Targets, Teacher
from tests.distill.conftest import TINY, TINY_MOE

CPU_ONLY = pytest.mark.skipif(torch.cuda.is_available(), reason="here flash attention may be had")

QUIET = {"trackers": []}


def pair(
    tokenizer,
    *,
    distill=None,
    spec=None,
    student_rows=None,
    teacher_rows=None,
    teacher_tokenizer=None,
):
    student, teacher = build_config(TINY, tokenizer), build_config(TINY_MOE, tokenizer)
    student.vocab_size, teacher.vocab_size = (
        student_rows or len(tokenizer),
        teacher_rows or len(tokenizer),
    )
    spec = spec or Model(shape=TINY)
    return ModelPair(
        distill or Distill(**QUIET),
        spec,
        student,
        tokenizer,
        teacher,
        teacher_tokenizer or tokenizer,
        Model(shape=TINY_MOE),
    )


def faults(checked):
    """The one line of each check that refuses."""
    found = []
    for name, check in checked.checks():
        try:
            assert check(), name
        except PipelineError as fault:
            found.append(str(fault))
    assert all("\n" not in line for line in found)
    return found


def other(tokenizer, **changes):
    made = copy.deepcopy(tokenizer)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_pair_that_fits_is_not_refused(tokenizer):
    assert faults(pair(tokenizer)) == []


def test_padded_vocabularies_pass_as_long_as_the_extra_ids_are_unused(tokenizer):
    size = len(tokenizer)
    padded = dict(
        (name, check)
        for name, check in pair(tokenizer, student_rows=size + 64, teacher_rows=size + 192).checks()
    )
    assert (
        padded["vocabulary"]()
        == f"{size + 64} ids shared (output matrices of {size + 192} and {size + 64} rows)"
    )
    (line,) = faults(pair(tokenizer, student_rows=size + 64, teacher_rows=size - 1))
    assert f"ids up to {size - 1}" in line and "unused ids only" in line
    line, _ = faults(pair(tokenizer, student_rows=size - 1))
    assert f"the tokenizer has {size} ids, the model {size - 1} embeddings" in line


def test_another_vocabulary_is_refused_with_a_count(tokenizer):
    longer = copy.deepcopy(tokenizer)
    longer.add_tokens(["<|more|>"])
    (line,) = faults(pair(tokenizer, teacher_tokenizer=longer, teacher_rows=len(longer)))
    assert (
        "name tokens differently" in line
        and "1 of them differ" in line
        and "divergence: none" in line
    )


@pytest.mark.parametrize("name", ["eos_token", "pad_token"])
def test_a_base_model_that_ends_otherwise_than_its_instruct_model_is_refused(tokenizer, name):
    base = other(tokenizer, **{name: "<|user|>"})
    with pytest.raises(
        ModelError,
        match=rf"{name} is .* for the teacher and '<\|user\|>' for the student; set models.student.{name}",
    ):
        check_special_tokens(tokenizer, base)


def test_the_key_that_the_line_names_mends_it(tokenizer, tmp_path):
    other(tokenizer, eos_token="<|user|>").save_pretrained(tmp_path)
    asked = Model(path=str(tmp_path), eos_token="<|end|>")
    assert "'<|end|>'" in check_special_tokens(tokenizer, load_tokenizer(asked))
    with pytest.raises(ModelError, match="no token '<nowhere>'"):
        load_tokenizer(dataclasses.replace(asked, eos_token="<nowhere>"))


def test_a_template_that_drops_messages_is_refused_and_one_without_an_end_gets_it(tokenizer):
    drops = other(
        tokenizer, chat_template=tokenizer.chat_template.replace("{{ space }}{{ content }}", "x")
    )
    with pytest.raises(ModelError, match="leaves out or changes the"):
        check_template(drops)
    endless = other(
        tokenizer,
        chat_template=tokenizer.chat_template.replace("{% endfor %}<|end|>", "{% endfor %}"),
    )
    assert "tokens of a sample are taught" in check_template(endless)
    other_end = other(
        tokenizer,
        chat_template=tokenizer.chat_template.replace(
            "{% endfor %}<|end|>", "{% endfor %}<|user|>"
        ),
    )
    with pytest.raises(
        ModelError,
        match=r"ends a turn with '<\|user\|>', eos_token is '<\|end\|>'.* models.student.eos_token: '<\|user\|>'",
    ):
        check_template(other_end)
    user = tokenizer.convert_tokens_to_ids("<|user|>")
    assert "tokens of a sample are taught" in check_template(other_end, ends=[user])


def test_rows_longer_than_the_positions_are_refused(tokenizer):
    with pytest.raises(
        ModelError,
        match=r"distill.sequence_tokens 4096 is more than the 256 positions of the student",
    ):
        check_length(4096, build_config(TINY, tokenizer), "distill", "the student")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere_proj", "no module named nowhere_proj; linear modules here: down_proj"),
        ("lm_head", "lm_head takes no adapter"),
        ("embed_tokens", "embed_tokens takes no adapter"),
    ],
)
def test_lora_targets_are_looked_up_without_weights(tokenizer, target, said):
    spec = Model(shape=TINY, lora=Lora(rank=4, targets=["q_proj", target]))
    (line,) = faults(pair(tokenizer, spec=spec))
    assert said in line
    assert all(
        p.device.type == "meta" for p in skeleton(build_config(TINY, tokenizer)).parameters()
    )


def test_one_vocabulary_cut_in_two_ways_is_refused(tokenizer):
    other_cut = copy.deepcopy(tokenizer)
    other_cut.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    assert other_cut.get_vocab() == tokenizer.get_vocab()
    (line,) = faults(pair(tokenizer, teacher_tokenizer=other_cut))
    assert (
        line.startswith("teacher and student cut the same text into other tokens: [")
        and "distill.divergence: none" in line
    )


def test_what_is_not_known_is_not_checked(tokenizer):
    alone = ModelPair(Distill(**QUIET), Model(shape=TINY), build_config(TINY, None))
    assert faults(alone) == [] and not alone.complete
    assert {"vocabulary", "special tokens", "chat template"}.isdisjoint(
        name for name, _ in alone.checks()
    )
    assert pair(tokenizer).complete


def test_top_k_that_leaves_no_tail_is_refused(tokenizer):
    words = ["<pad>", "<end>", "<user>", "<assistant>", "<unk>", *(f"w{n}" for n in range(20))]
    inner = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    small = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )
    small.chat_template = tokenizer.chat_template
    for kept, wanted in (
        (24, []),
        (
            25,
            [
                "distill.targets.tokens_per_position 25 leaves no tail in a vocabulary of 25 ids; expected fewer"
            ],
        ),
    ):
        checked = pair(
            small, distill=Distill(targets=Targets(kind="top_k", tokens_per_position=kept), **QUIET)
        )
        assert [line for line in faults(checked) if "tail" in line] == wanted


def test_what_this_launch_cannot_do_is_refused(monkeypatch):
    sharded, muon = Distill(targets=Targets(teacher="sharded")), Distill(optimizer="muon")
    with pytest.raises(
        TrainingError,
        match=r"distill.targets.teacher: sharded needs ZeRO-3, this launch has no DeepSpeed",
    ):
        check_zero(sharded, "distill")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    with pytest.raises(TrainingError, match="this launch has ZeRO-2"):
        check_zero(sharded, "distill")
    assert "ZeRO-2" in check_zero(muon, "distill")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "cpu")
    with pytest.raises(TrainingError, match="muon gathers whole matrices, and offload"):
        check_zero(muon, "distill")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "0")
    with pytest.raises(TrainingError, match="zero_stage 0 cuts nothing up; set zero_stage 1, 2"):
        check_zero(muon, "distill")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    assert "ZeRO-3" in check_zero(sharded, "distill")


@CPU_ONLY
def test_a_kernel_that_is_not_there_is_refused_for_either_model(tokenizer):
    with pytest.raises(
        TrainingError,
        match=r"models.student.attention: flash_attention_2 was asked for and there is no CUDA device",
    ):
        check_attention(Model(shape=TINY, attention="flash_attention_2"), "models.student")
    flash = dataclasses.replace(
        pair(tokenizer), teacher_spec=Model(shape=TINY_MOE, attention="flash_attention_3")
    )
    (line,) = faults(flash)
    assert line.startswith("models.teacher.attention: flash_attention_3 was asked for")


def test_a_folder_of_the_same_name_is_no_tracker(tmp_path, monkeypatch):
    (tmp_path / "wandb").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TrainingError, match=r"distill.trackers: wandb is not installed"):
        check_trackers(Distill(trackers=["trackio", "wandb"]), "distill")


def test_roles_that_teach_nothing_are_refused():
    with pytest.raises(
        TrainingError,
        match=r"distill.role_weights {'assistant': 0.0} teach nothing; expected one above 0",
    ):
        check_roles(Distill(role_weights={"assistant": 0.0}))
    assert check_roles(Distill(role_weights={"assistant": 0.0, "user": 0.5})) == "user 0.5"


def test_a_teacher_to_be_is_looked_at_before_it_is_trained():
    found = dict(
        teacher_checks(Teacher(sequence_tokens=300, trackers=["wandb"]), Model(shape=TINY_MOE))
    )
    with pytest.raises(
        ModelError,
        match=r"teacher.sequence_tokens 300 is more than the 256 positions of the teacher",
    ):
        found["teacher: lengths"]()
    with pytest.raises(TrainingError, match=r"teacher.trackers: wandb"):
        found["teacher: trackers"]()


def test_a_quantised_student_is_refused(tokenizer, tmp_path):
    config = build_config(TINY, tokenizer)
    config.quantization_config = {"quant_method": "fp8"}
    config.save_pretrained(tmp_path)
    spec = Model(path=str(tmp_path))
    with pytest.raises(ModelError, match=r"is quantised \(fp8\) and cannot be trained"):
        check_plain(load_config(spec), spec)


# --- architectures


def family(name, tokenizer, **changes):
    """A config of another family, small, for a tokenizer."""
    config = CONFIG_MAPPING[name]()
    ids = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), tokenizer.eos_token_id)
    for key, value in (
        {"vocab_size": len(tokenizer), "num_hidden_layers": 2} | ids | changes
    ).items():
        setattr(config, key, value)
    return config


def refusal(config, distill, **spec):
    model = Model(path="some/model", **spec)
    with pytest.raises(ModelError) as fault:
        check_layers(skeleton(config, model), model, distill, "models.student")
    assert "\n" not in str(fault.value)
    return str(fault.value)


def test_chunks_that_flash_attention_would_not_keep_are_refused(tokenizer):
    config = family("llama4_text", tokenizer, attention_chunk_size=16)
    said = refusal(config, Distill(sequence_tokens=96), attention="flash_attention_2")
    assert (
        "see chunks of 16 tokens, which flash_attention_2 does not keep for distill.sequence_tokens 96"
        in said
    )
    spec = Model(path="some/model")
    assert check_layers(skeleton(config, spec), spec, Distill(sequence_tokens=96), "models.student")


def test_recurrent_layers_are_refused_with_packing_only(tokenizer):
    config = family("lfm2", tokenizer, layer_types=["conv", "full_attention"])
    said = refusal(config, Distill())
    assert (
        "has conv layers, which carry over from one packed sequence into the next; set distill.packing: false"
        in said
    )
    spec = Model(path="some/model")
    assert check_layers(skeleton(config, spec), spec, Distill(packing=False), "models.student")
    with pytest.raises(ModelError, match="packed sequences see each other in Lfm2ForCausalLM"):
        check_first_step(config, None, tokenizer, Distill(divergence="none"))
    assert check_first_step(config, None, tokenizer, Distill(divergence="none", packing=False))


def test_families_that_the_learner_cannot_read_are_refused(tokenizer):
    said = refusal(family("gpt2", tokenizer, n_layer=1), Distill())
    assert "GPT2LMHeadModel has no decoder `model` beside an output matrix `lm_head`" in said
    with pytest.raises(ModelError, match="does not support an attention implementation through"):
        skeleton(family("gpt_oss", tokenizer), Model(path="some/model", attention="sdpa"))


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jsd", "none"])
def test_a_first_step_reaches_the_student_and_stops_at_masks(tokenizer, divergence):
    teacher = None if divergence == "none" else build_config(TINY_MOE, tokenizer)
    said = check_first_step(
        build_config(TINY, tokenizer),
        teacher,
        tokenizer,
        Distill(divergence=divergence, masked_action="soften"),
    )
    assert (
        said.startswith("gradient ")
        and "0 where all is masked; packed sequences stay apart" in said
    )


def test_a_lock_that_a_killed_process_left_is_removed_and_a_fresh_one_waited_for(tmp_path):
    old, fresh = (tmp_path / "py" / name / "lock" for name in ("old", "fresh"))
    for lock in (old, fresh):
        lock.parent.mkdir(parents=True)
        lock.touch()
    os.utime(old, (0, 0))
    Timer(0.5, fresh.unlink).start()  # whoever builds is done
    release_builds_of_the_dead(tmp_path, stale_seconds=60)
    assert not old.exists() and not fresh.exists()
    fresh.touch()
    release_builds_of_the_dead(tmp_path, stale_seconds=0.3)  # nobody comes
    assert not fresh.exists()
