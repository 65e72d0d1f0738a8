"""Look-ups to learn from: what a filter kept, with calls in place of recalled facts, and
counterparts that say when not to call.

Results come from the base that scrubbing wrote, through the same index that a student will use, so
their order and their noise are those that it will meet.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from data_filters.lookup.grounded_records import STATES, GroundedRecords
from data_filters.lookup.knowledge_base import KnowledgeBase
from data_filters.lookup.recalled_records import OFFERS, RecalledRecords
from data_filters.lookup.rewrite import offers
from data_filters.lookup.search_results import SearchResults
from data_filters.lookup.sentence_records import SentenceRecords
from data_filters.lookup.stated_facts import BLANK, stated_facts
from data_filters.records.rows import list_shards
from data_filters.records.shards import iter_traces, read_shard, write_shard
from data_filters.records.traces import SCHEMA, Trace, to_row
from data_filters.scrub.restore import restore
from data_filters.scrub.scrub import Scrubber
from recipes.schema.filter import Lookups
from recipes.vocabulary import Action, Role


class Augmenter:
    """Turns traces into records with look-ups.

    Args:
        base: facts that were taken out.
        facts: the same, as rows of subject, relation and value.
        scrubber: finds what a trace recalls.
        config: shares and chances.
        seed: of the draws; a trace is treated alike whatever stands around it.
    """

    def __init__(
        self,
        base: KnowledgeBase,
        facts: Iterable[dict[str, str]],
        scrubber: Scrubber,
        config: Lookups,
        seed: int,
    ) -> None:
        self.config, self.seed = config, seed
        self.counts: Counter[str] = Counter()
        self.results = SearchResults(facts, config.num_snippets, config.links)
        says = scrubber.abstain_text
        self.recalled = RecalledRecords(base, self.results, config, scrubber.spans, says)
        self.grounded = GroundedRecords(self.results, config, says)
        self.sentences, self.scrubber = SentenceRecords(base, config, says), scrubber

    def records(self, trace: Trace) -> Iterator[Trace]:
        """What is taught in place of one kept trace, the most alike first."""
        # its teacher has tools of its own, or it does not end with a question and its answer
        if any(message["role"] == Role.TOOL for message in trace.messages) or not _is_asked(trace):
            yield trace
            return
        rng = random.Random(f"lookups/{self.seed}/{trace.id}")
        if any(span.action == Action.ABSTAIN for span in trace.spans):
            whole = restore(trace)
            yield from self._counted(self._looked_up(rng, whole) or [self.recalled.off(rng, whole)])
            return
        yield (
            offers(trace, rng.choice(OFFERS))
            if rng.random() < self.config.tools_offered_fraction
            else trace
        )
        makers = (
            (self.config.prompt_facts_moved_fraction, self._from_prompt),
            (self.config.two_hops_fraction, self.grounded.two_lookups),
            (self.config.programs_fraction, self.grounded.program),
        )
        for chance, make in makers:
            if rng.random() < chance and (made := make(rng, trace)):
                yield from self._counted([made])

    def _from_prompt(self, rng: random.Random, trace: Trace) -> Trace | None:
        if STATES.search(trace.messages[-2]["content"]):
            return self.grounded.one_lookup(rng, trace)
        return self.sentences.from_prompt(rng, trace)

    def _looked_up(self, rng: random.Random, trace: Trace) -> list[Trace]:
        """Records of a trace that recalls facts; none where one of them is no plain fact."""
        last = len(trace.messages) - 1
        spans = [span for span in self.scrubber.spans(trace) if span.message == last]
        facts = stated_facts(trace, spans)
        if any(BLANK in fact.relation for fact in facts):
            return self.sentences.of(rng, trace, facts)
        return self.recalled.of(rng, trace) if facts else []

    def _counted(self, made: list[Trace]) -> list[Trace]:
        self.counts.update(trace.spans[-1].detector.removeprefix("lookups/") for trace in made)
        return made


def _is_asked(trace: Trace) -> bool:
    return [message["role"] for message in trace.messages[-2:]] == [Role.USER, Role.ASSISTANT]


def augment(
    folder: Path, scrubber: Scrubber, config: Lookups, seed: int, progress: Callable[[int], None]
) -> dict[str, int]:
    """Rewrites folder/kept with look-ups and counterparts from folder/knowledge, shard by shard, so
    in constant memory beside the base; gives how many records there are of each kind.

    Args:
        folder: of a filter stage.
        scrubber: finds what a trace recalls.
        config: shares and chances.
        seed: of the draws.
        progress: called with 1 for each shard.
    """
    kept, half = folder / "kept", folder / ".kept-mixed"
    facts = [row for shard in list_shards(folder / "knowledge") for row in read_shard(shard)]
    base = KnowledgeBase.read(folder / "knowledge")
    augmenter = Augmenter(base, facts, scrubber, config, seed)
    shutil.rmtree(half, ignore_errors=True)
    for shard in list_shards(kept):
        rows = [
            to_row(record) for trace in iter_traces(shard) for record in augmenter.records(trace)
        ]
        write_shard(half / shard.name, rows, SCHEMA)
        progress(1)
    shutil.rmtree(kept)
    half.rename(kept)
    return dict(augmenter.counts)
