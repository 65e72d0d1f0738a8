"""Hidden states of a model behind a vLLM server, as bytes: with the output matrix at hand they are
its whole distribution.

Letters: T tokens, E the width of the hidden states.

A token takes E values on the wire, 2 or 4 bytes each: 8,192 bytes for a width of 4,096 in bfloat16.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from distill.engines.endpoint import EndpointEngine
from distill.engines.served.answers import OddAnswer
from distill.engines.served.client import Refused
from distill.engines.served.messages import shown_address
from recipes.errors import ModelError

PATH = "/pooling"  # beside /v1, not below it
BESIDE_BYTES = 2**16
# how a vLLM server must be started: the hidden states of every token, as they are
POOLING = {
    "runner": "pooling",
    "convert": "embed",
    "pooler-config": '{"task": "token_embed", "tok_pooling_type": "ALL", "use_activation": false}',
}
HOW = " ".join(f"--{name} {value}" for name, value in POOLING.items() if name != "pooler-config")


class ServedHiddenStates:
    """Hidden states of a served model, many rows in flight.

    Args:
        engine: the line to servers that were started with POOLING.
        width: E.
        dtype: in which the values travel, that of the model.
    """

    def __init__(self, engine: EndpointEngine, width: int, dtype: torch.dtype) -> None:
        self.engine, self.width, self.dtype = engine, width, dtype

    def check(self) -> str:
        """Asks every address for its model, and for the states of two tokens.

        Raises:
            ModelError: no such server, or it gives none.
        """
        self.engine.look_at_models()
        self.hidden_states([[0, 1]])
        size = self.width * self.dtype.itemsize
        return f"{self.engine.model}: {size:,} bytes on the wire for each token"

    def hidden_states(self, rows: Sequence[Sequence[int]]) -> list[Tensor]:
        """What the output matrix takes at each token of each row, the final norm included: [T, E],
        float32.

        Raises:
            ModelError: the server gives none, or a row is longer than its context.
        """
        return self.engine.together([self._ask(list(row)) for row in rows])

    async def _ask(self, row: list[int]) -> Tensor:
        body = {
            "model": self.engine.model,
            "input": row,
            "task": "token_embed",
            "encoding_format": "bytes",
            "embed_dtype": str(self.dtype).removeprefix("torch."),
            "endianness": "little",
            "use_activation": False,
        }
        size = len(row) * self.width * self.dtype.itemsize

        def read(said: bytes, _: Mapping[str, str]) -> Tensor:
            return self._read(said, len(row), size)

        try:
            return await self.engine.client.fetch(PATH, body, read, size + BESIDE_BYTES)
        except (Refused, ModelError) as fault:
            raise self._told(fault, len(row)) from fault

    def _read(self, said: bytes, tokens: int, size: int) -> Tensor:
        if len(said) != size:
            raise OddAnswer(f"{len(said)} bytes for {tokens} tokens, expected {size}", again=False)
        values = torch.frombuffer(bytearray(said), dtype=self.dtype)
        if not bool(values.isfinite().all()):
            raise OddAnswer("hidden states that are not finite")
        return values.view(tokens, self.width).float()

    def _told(self, fault: Exception, tokens: int) -> ModelError:
        where = shown_address(self.engine.client.urls[0])
        return ModelError(
            f"{where}: no hidden states of a row of {tokens} tokens ({fault}); serve the teacher by vLLM with "
            f"{HOW} and its pooler, see docs/recipe.md, or set distill.targets.kind: top_k"
        )


def pooling_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a server of our own that gives hidden states; the recipe's win."""
    return POOLING | options
