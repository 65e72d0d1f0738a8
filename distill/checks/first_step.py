"""A first step on shrunken, freshly built copies of student and teacher: does the signal arrive,
and does it stop at masks?
"""

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerBase

from data_filters.records.traces import Span, Trace
from distill.checks.tokenizers_agree import SAMPLE
from distill.data.encode import Encoded, encode_traces, teaching
from distill.data.packing import pack
from distill.forward import causal, decoder, hidden_states, logit_scale
from distill.loss.learner import Learner
from distill.targets.live import LiveTeacher
from distill.train.student import objective
from recipes.errors import ModelError
from recipes.schema import Distill
from recipes.vocabulary import Action, Grounding, Kind

# of hidden states, relative; rounding is a hundredth of that, a short convolution of fresh weights
# 5e-4
CLOSE = 2e-5


def check_first_step(
    student: PretrainedConfig,
    teacher: PretrainedConfig | None,
    tokenizer: PreTrainedTokenizerBase,
    distill: Distill,
    *,
    remote: bool = False,
) -> str:
    """One step through the real encoding, packing and loss.

    Args:
        teacher: None: cross-entropy alone.
        remote: may run code that comes with a model.

    Raises:
        ModelError: a position does not predict the token that follows, the gradient is 0, a masked
            text has one, a sequence is read otherwise than its model reads it, or packed sequences
            see each other.
    """
    plain, masked = _samples(tokenizer, distill)
    following = plain.ids[1:][_taught(plain)[1:]].tolist()
    batch = pack([plain], len(plain.ids))
    if batch.labels_BT[batch.taught()].tolist() != following:
        raise ModelError(
            "taught positions do not predict the token that follows them; this is a bug, please report it"
        )
    configs = [student] if teacher is None else [student, teacher]
    models = [shrunken(config, seed, remote=remote) for seed, config in enumerate(configs)]
    vocab_size = min(int(config.get_text_config().vocab_size) for config in configs)
    learner = Learner(models[0], objective(distill, vocab_size))
    source = (
        LiveTeacher(models[1], torch.device("cpu"), vocab_size) if teacher is not None else None
    )
    for model in models:
        _check_reading(model, [plain, masked], packing=distill.packing)
    lengths = [_gradient(learner, source, sequence) for sequence in (plain, masked)]
    if not lengths[0] > 0 or lengths[1] > 0:
        found = f"a gradient of length {lengths[0]:.3g}, and {lengths[1]:.3g} where all is masked"
        raise ModelError(
            f"a first step has {found}; expected more than 0, and 0: look at distill.divergence and role_weights"
        )
    apart = "; packed sequences stay apart" if distill.packing else ""
    return (
        f"gradient {lengths[0]:.3g} on {len(following)} taught tokens, 0 where all is masked{apart}"
    )


def _samples(tokenizer: PreTrainedTokenizerBase, distill: Distill) -> Iterator[Encoded]:
    """A conversation as the recipe teaches it, and the same with all of it masked."""
    talk = [dict(message) for message in SAMPLE]
    masks = [
        Span(
            message=n,
            start=0,
            end=len(message["content"]),
            kind=Kind.SAMPLE,
            grounding=Grounding.UNGROUNDED,
            action=Action.MASK,
        )
        for n, message in enumerate(talk)
    ]
    traces = [
        Trace(id="sample", problem_id="", source="", seed=0, messages=talk, spans=spans)
        for spans in ([], masks)
    ]
    plain, masked = encode_traces(traces, tokenizer, replace(teaching(distill), soften=None))
    kept = masked.ids != tokenizer.eos_token_id  # the end of a turn is never masked
    return iter((plain, replace(masked, kl=masked.kl * kept, ce=masked.ce * kept)))


def _taught(sequence: Encoded) -> np.ndarray:
    return sequence.kl + sequence.ce + sequence.flat > 0


def _gradient(learner: Learner, source: LiveTeacher | None, sequence: Encoded) -> float:
    """Its length."""
    batch = pack([sequence], len(sequence.ids))
    learner.zero_grad()
    if source is None:
        loss, _ = learner(batch, None)
    else:
        with source.reading(batch) as signal:
            loss, _ = learner(batch, signal)
    loss.backward()
    return sum(float(p.grad.norm()) ** 2 for p in learner.parameters() if p.grad is not None) ** 0.5


@torch.no_grad()
def _check_reading(model: nn.Module, sequences: list[Encoded], *, packing: bool) -> None:
    """A sequence must be read as the model itself reads it, also where it is the second of two in a
    packed row.
    """
    ids_T = torch.from_numpy(sequences[1].ids).long()
    own_TD = decoder(model)(input_ids=ids_T[None], use_cache=False).last_hidden_state[0]
    own_TD = own_TD * logit_scale(causal(model).config)
    alone_TD = hidden_states(model, pack(sequences[1:], len(ids_T)))[0]
    if not _close(alone_TD, own_TD):
        raise ModelError(
            f"{type(model).__name__} is read otherwise than it reads itself; choose another family, and please report it"
        )
    if packing:
        packed = pack(sequences, sum(len(sequence.ids) for sequence in sequences))
        if not _close(hidden_states(model, packed)[0, -len(ids_T) :], own_TD):
            raise ModelError(
                f"packed sequences see each other in {type(model).__name__}; set distill.packing: false"
            )


def _close(found_TD: torch.Tensor, wanted_TD: torch.Tensor) -> bool:
    return bool((found_TD - wanted_TD).abs().max() <= CLOSE * wanted_TD.abs().max())


def shrunken(config: PretrainedConfig, seed: int, *, remote: bool = False) -> nn.Module:
    """The same architecture and vocabulary, narrow, with short windows and a layer of each kind
    (two to four), freshly built.
    """
    small = copy.deepcopy(config.get_text_config())
    kinds = list(dict.fromkeys(getattr(small, "layer_types", None) or []))[:4]
    kinds += kinds[-1:] * (2 - len(kinds))
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "moe_intermediate_size": 32,
        "n_group": 1,
        "topk_group": 1,
        "num_experts": 4,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "max_window_layers": 2,
        "num_hidden_layers": max(2, len(kinds)),
    } | ({"num_key_value_heads": 4} if hasattr(small, "qk_rope_head_dim") else {"head_dim": 16})
    for name, value in sizes.items():
        if getattr(small, name, None) is not None:
            setattr(small, name, value)
    for name in ("sliding_window", "attention_chunk_size"):
        if getattr(small, name, None):
            setattr(small, name, 4)  # shorter than a sample, so that keeping it shows
    if kinds:
        small.layer_types = kinds
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        how = {"dtype": torch.float32, "trust_remote_code": remote}
        try:
            return AutoModelForCausalLM.from_config(small, attn_implementation="sdpa", **how).eval()
        except ValueError:  # a family without sdpa
            return AutoModelForCausalLM.from_config(
                small, attn_implementation="eager", **how
            ).eval()
