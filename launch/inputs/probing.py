"""Who answers the probes of the stage filter: the teacher, an auditor of the recipe's, a reference
for surprise.
"""

from collections.abc import Callable, Mapping, Sequence

from data_filters.passes.probe_answers import Further, Measure
from data_filters.recall.audit import Audited, Say, audit
from data_filters.recall.recite import NEW_TOKENS, Recited, recite
from data_filters.records.traces import Trace
from distill.engines.local import LocalEngine
from distill.engines.logprob_gap import Score, of_engine, of_model, token_gaps
from distill.engines.protocol import Conversation, Engine, Sampling
from distill.models import load_model, load_tokenizer, to_device
from launch.inputs.teacher import LOGPROBS, TeacherAccess, open_model
from recipes.errors import ModelError
from recipes.schema import Model
from recipes.schema.filter import Probes

Progress = Callable[[int, int], None]


class Probing:
    """The models that a run's probes ask.

    Args:
        config: of the probes.
        teacher: who wrote the traces.
    """

    def __init__(self, config: Probes, teacher: TeacherAccess) -> None:
        self.config, self.teacher = config, teacher

    @property
    def max_new_tokens(self) -> int:
        """The longest answer that the teacher will be asked for."""
        config = self.config
        audits = config.audit != "off" and config.auditor is None
        return max(
            config.max_new_tokens,
            config.audit_new_tokens if audits else 0,
            NEW_TOKENS if config.recite != "off" else 0,
        )

    @property
    def top_k(self) -> int:
        """Log-probabilities a token that the teacher's server will be asked for."""
        served = self.teacher.recipe.models.teacher.engine != "transformers"
        return LOGPROBS if served and self.config.surprise != "off" else 0

    def further(self, engine: Engine, units: int, progress: Progress) -> Further:
        """Audit and recitation as the recipe has them, each unit with its share of the tokens."""
        config = self.config
        probes: dict[str, Callable[[Sequence[Trace]], Mapping[str, Audited | Recited]]] = {}
        share = {
            name: (tokens // max(units, 1) if tokens else None)
            for name, tokens in (("audit", config.audit_tokens), ("recite", config.recite_tokens))
        }
        if config.recite != "off":
            asked = saying(engine, progress)
            probes["recite"] = lambda traces: recite(traces, asked, share["recite"])
        if config.audit != "off":
            auditor = saying(self._auditor() or engine, progress)
            most = config.audit_new_tokens
            probes["audit"] = lambda traces: audit(traces, auditor, most, share["audit"])

        def found(traces: Sequence[Trace]) -> Mapping[str, Mapping[str, Audited | Recited]]:
            return {name: probe(traces) for name, probe in probes.items()}

        return found

    def _auditor(self) -> LocalEngine | None:
        if self.config.auditor is None:
            return None
        spec = Model(path=self.config.auditor)
        model = open_model("auditor", spec, None, self.teacher.work)
        return LocalEngine(model, load_tokenizer(spec), batch_sequences=self.config.batch_sequences)

    def measure(self, engine: Engine) -> Measure | None:
        """The teacher beside a model that knows no facts; None: nobody asks for it.

        Raises:
            ModelError: the two do not share a tokenizer.
        """
        config, tokenizer = self.config, self.teacher.tokenizer()
        if config.surprise == "off":
            return None
        device = None
        if isinstance(engine, LocalEngine):
            device = engine.model.device
            teacher: Score = of_model(engine.model, tokenizer.pad_token_id)
        else:
            teacher = of_engine(engine, LOGPROBS)
        reference = load_model(Model(path=config.reference))
        if device is not None:
            reference = to_device(reference, device)
        size, wanted = reference.config.vocab_size, len(tokenizer)
        if size < wanted:
            raise ModelError(
                f"filter.probes.reference {config.reference}: {size} tokens, the teacher's tokenizer "
                f"has {wanted}; it must share that tokenizer"
            )
        score = of_model(reference.eval(), tokenizer.pad_token_id)
        batch = config.batch_sequences
        return lambda traces: token_gaps(teacher, score, tokenizer, traces, batch)


def saying(engine: Engine, progress: Progress) -> Say:
    """An engine as audit and recitation ask it, greedily."""

    def say(
        conversations: Sequence[Conversation], begun: Sequence[str], new_tokens: int
    ) -> list[tuple[str, int]]:
        sampling = Sampling(max_new_tokens=new_tokens)
        said = engine.complete(conversations, sampling, prefixes=begun, progress=progress)
        return [(one.text, one.prompt_tokens + one.completion_tokens) for one in said]

    return say


def cost_of_probes(totals: Mapping[str, int]) -> str:
    """One line for people: what audit and recitation took, and what they found; empty: nothing."""
    told = []
    if "audit_traces" in totals:
        told.append(
            f"audit of {totals['audit_traces']:,} traces took {totals['audit_tokens']:,} tokens: "
            f"{totals['audit_quotes']:,} quotes, {totals['audit_named']:,} statements, "
            f"{totals['audit_refused']:,} refused, {totals['audit_unmatched']:,} not in the text"
        )
    if "recite_traces" in totals:
        told.append(
            f"recitation of {totals['recite_runs']:,} runs took {totals['recite_tokens']:,} tokens: "
            f"{totals['recite_named']:,} known by heart"
        )
    return "; ".join(told)
