"""A small byte-level BPE tokenizer with a chat template, trained on a teacher's own texts."""

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"
THINK = ("<think>", "</think>")
TOOLS = tuple(
    mark for name in ("tools", "tool_call", "tool_response") for mark in (f"<{name}>", f"</{name}>")
)
# A digit is a token, a word with its leading space is a token: a name inside a sentence and a name
# after a role marker are then the same token, because the template writes the space.
WORDS = r" ?[0-9]| ?[A-Za-z]+|'s| ?[^\sA-Za-z0-9]+|\s+"
# Calls are written as Hermes and Qwen write them, one JSON object between <tool_call> and
# </tool_call>, which vLLM's parser `hermes` reads. Of the tools that are offered it names the names
# only: a small model has learned what they take.
TEMPLATE = (
    "{% if tools %}<tools>{% for t in tools %} {{ (t['function'] if t['function'] else t)['name'] }}{% endfor %}</tools>{% endif %}"
    "{% for m in messages %}"
    "{% set content = m['content'] if m['content'] else '' %}"
    "{% set space = '' if content.startswith('<think>') or (not content and m['tool_calls']) else ' ' %}"
    "{% if m['role'] == 'assistant' %}<|assistant|>{{ space }}{{ content }}"
    "{% for c in m['tool_calls'] or [] %}{% set f = c['function'] if c['function'] else c %}"
    """<tool_call>{"name": "{{ f['name'] }}", "arguments": """
    "{{ f['arguments'] if f['arguments'] is string else f['arguments'] | tojson }}}</tool_call>{% endfor %}<|end|>"
    "{% elif m['role'] == 'tool' %}<|user|><tool_response> {{ content }}</tool_response>"
    "{% else %}<|user|> {{ content }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(
    texts: Iterable[str], *, vocab_size: int, tools: bool = False
) -> PreTrainedTokenizerFast:
    """A tokenizer for conversations over `texts`.

    Args:
        texts: contents of messages; streamed.
        vocab_size: upper bound; training stops earlier when nothing is left to merge.
        tools: give the marks of tool calls a token each.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    specials = [AddedToken(name, special=True) for name in (PAD, END, USER, ASSISTANT)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((f" {text}" for text in texts), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [USER, ASSISTANT]})
    tokenizer.add_tokens(
        [AddedToken(name, special=False) for name in (*THINK, *(TOOLS if tools else ()))]
    )  # ordinary tokens: decoding keeps them
    tokenizer.chat_template = TEMPLATE
    return tokenizer
