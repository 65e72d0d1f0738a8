"""The keys of models: where one comes from, what shape it has, adapters."""

from dataclasses import dataclass, field
from typing import Literal

from recipes.errors import RecipeError


def require(holds: bool, message: str) -> None:
    """Raises RecipeError(message) unless `holds`; a message names the keys and the values found."""
    if not holds:
        raise RecipeError(message)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a model that is built from scratch, with the Qwen3 layout."""

    family: Literal["qwen3", "qwen3_moe"] = "qwen3"
    hidden_size: int = 128  # width of the residual stream
    num_layers: int = 3
    num_heads: int = 4
    num_kv_heads: int = 4
    head_size: int = 32
    intermediate_size: int = 256  # width of the MLP; of each expert in a mixture
    num_experts: int = 8  # qwen3_moe only
    experts_per_token: int = 2  # qwen3_moe only
    tie_embeddings: bool = True
    rope_theta: float = 10_000.0
    max_position_tokens: int = 256

    def __post_init__(self) -> None:
        require(self.num_kv_heads >= 1, f"num_kv_heads {self.num_kv_heads} is below 1")
        require(
            self.num_heads % self.num_kv_heads == 0,
            f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}",
        )
        require(self.head_size % 2 == 0, f"head_size {self.head_size} is odd; positions turn pairs")
        used, there = self.experts_per_token, self.num_experts
        require(1 <= used <= there, f"experts_per_token {used} is outside 1..num_experts {there}")


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters through peft; rank 0 trains the whole model."""

    rank: int = 0  # 0 = off
    alpha: float = 32.0
    dropout: float = 0.0  # 0..1
    targets: list[str] = field(
        default_factory=lambda: [
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ]
    )

    def __post_init__(self) -> None:
        require(self.rank >= 0, f"lora.rank {self.rank} is below 0")


@dataclass(frozen=True, kw_only=True)
class Server:
    """How to talk to an OpenAI-compatible server, and how to start our own."""

    # completions: the chat template is rendered here; chat: by the server
    api: Literal["completions", "chat"] = "completions"
    model: str | None = None  # the name of the served model; null: the only one
    # vLLM servers of the same model that give hidden states (--runner pooling), for targets; empty:
    # base_urls
    hidden_urls: list[str] = field(default_factory=list)
    # name of the environment variable with the key; the key itself is never stored
    api_key_env: str | None = None
    concurrency: int = 256  # requests in flight from one rank, over all base_urls
    requests_per_second: float = 0.0  # limit of one rank; 0 = none
    timeout_seconds: float = 600.0  # of one request
    retries: int = 8  # of a request after a transient error, with backoff
    start_seconds: float = 1800.0  # time limit for our own server to become ready
    # Python interpreter of the environment that has vLLM; null: this one
    python: str | None = None
    # options of vLLM's server, e.g. {tensor-parallel-size: "8", enable-expert-parallel: ""}
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.concurrency > 0, f"server.concurrency {self.concurrency} is not above 0")
        require(
            self.timeout_seconds > 0,
            f"server.timeout_seconds {self.timeout_seconds} is not above 0",
        )
        require(self.retries >= 0, f"server.retries {self.retries} is below 0")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model: loaded from `path`, or built from a `shape` (a teacher is then trained)."""

    # hub id, local folder, or package:NAME (a folder inside an installed Python package)
    path: str | None = None
    revision: str | None = None  # hub revision
    gguf_file: str | None = None  # a GGUF file inside path
    shape: Shape | None = None  # build instead of load
    lora: Lora = field(default_factory=Lora)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    attention: Literal[
        "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flash_attention_4"
    ] = "sdpa"
    trust_remote_code: bool = False
    # ends a turn; null: the tokenizer's own. Base and instruct models often differ here
    eos_token: str | None = None
    pad_token: str | None = None  # null: the tokenizer's own
    # another chat template: a .jinja file, package:NAME/FILE, or the name of one of the tokenizer's
    # own; null: the tokenizer's default
    chat_template: str | None = None
    # vllm: in this process; endpoint: an OpenAI-compatible server
    engine: Literal["transformers", "vllm", "endpoint"] = "transformers"
    # endpoint only, e.g. http://host:8000/v1; requests are spread over them
    base_urls: list[str] = field(default_factory=list)
    serve: bool = False  # endpoint only: the run starts and stops its own vLLM server
    server: Server = field(default_factory=Server)

    def __post_init__(self) -> None:
        require(
            (self.path is None) != (self.shape is None),
            "a model has either a path or a shape, not both and not neither",
        )
        served = self.engine == "endpoint"
        wanted = "engine endpoint needs base_urls, e.g. [http://localhost:8000/v1], or serve: true"
        require(not served or bool(self.base_urls) != self.serve, wanted)
        require(served or not self.serve, f"serve: true needs engine endpoint, found {self.engine}")


@dataclass(frozen=True, kw_only=True)
class Models:
    """Who teaches and who learns."""

    teacher: Model
    student: Model

    @classmethod
    def none(cls) -> "Models":
        """No models, for a recipe that only asks finished ones (evaluate.models)."""
        return cls(teacher=Model(path=""), student=Model(path=""))

    @property
    def given(self) -> bool:
        """Whether the recipe names a teacher and a student."""
        return self.teacher.path != "" and self.student.path != ""
