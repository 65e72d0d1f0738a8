"""Which layers, and how much of their curvature: layers alone and together, then greedy steps from
the best, under a time limit.

Every point that was looked at is a line of a journal, so that a search that was killed goes on
behind its last line.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from distill.edit.directions import Method, Spectrum, edited_weight
from distill.edit.factors import Factors
from distill.edit.matrices import Target
from recipes.errors import TrainingError

Cuts = tuple[tuple[int, float], ...]  # (layer, curvature taken out), by layer
Scores = Mapping[str, float]  # recall, and each suite that is to stay, 0..1


@dataclass(frozen=True, slots=True)
class Point:
    """One edit that was looked at; no cuts: the model as it is."""

    method: str
    cuts: Cuts
    kept_fraction: float  # of the numbers in the weights of the edited layers
    scores: dict[str, float] = field(default_factory=dict)


class Editor:
    """A model whose targets can be edited and put back.

    Args:
        factors: of each target by name.
    """

    def __init__(
        self, model: PreTrainedModel, targets: Sequence[Target], factors: Mapping[str, Factors]
    ) -> None:
        self.model, self.targets = model, list(targets)
        self._factors, self._spectra = factors, dict[str, Spectrum]()
        self._whole = {target.name: target.weight().clone() for target in self.targets}

    @torch.no_grad()
    def apply(self, method: Method, cuts: Cuts) -> float:
        """Edits in place, from the weights as they were; gives the fraction of numbers kept in the
        layers that it touches.
        """
        self.restore()
        kept = size = 0
        for layer, taken in cuts:
            for number, target in enumerate(t for t in self.targets if t.layer == layer):
                whole = self._whole[target.name]
                edited, count = edited_weight(
                    whole, self._spectrum(target), method, 1 - taken, seed=1000 * layer + number
                )
                target.weight().copy_(edited)
                kept, size = kept + count, size + whole.numel()
        return kept / size if size else 1.0

    def restore(self) -> None:
        for target in self.targets:
            target.weight().copy_(self._whole[target.name])

    @contextmanager
    def edited(self, method: Method, cuts: Cuts) -> Iterator[float]:
        try:
            yield self.apply(method, cuts)
        finally:
            self.restore()

    def _spectrum(self, target: Target) -> Spectrum:
        """Eigenvectors are found when first asked for."""
        if target.name not in self._spectra:
            parts, device = self._factors[target.name], self.model.device
            self._spectra[target.name] = Spectrum.of(
                Factors(parts.inputs_DD.to(device), parts.outputs_EE.to(device), parts.tokens)
            )
        return self._spectra[target.name]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which point of a frontier is taken, and what a greedy combination works toward."""

    keep: Sequence[str]
    recall_at_most: float
    keep_at_least: float
    prefer: str = "keep_most"  # or recall_least

    def kept(self, point: Point, before: Scores) -> float:
        """The worst of the suites that are to stay, as a share of what it was."""
        return min(
            point.scores[suite] / before[suite] if before[suite] else 1.0 for suite in self.keep
        )

    def worth(self, point: Point, before: Scores) -> float:
        """What is kept less the recall that is too much: the quantity a combination climbs."""
        return min(1.0, self.kept(point, before)) - max(
            0.0, point.scores["recall"] - self.recall_at_most
        )

    def choose(self, points: Iterable[Point], before: Scores) -> Point:
        """keep_most: of the points that recall little enough the one that keeps most; recall_least:
        of those that keep enough the one that recalls least. Where no point is within the limit,
        the one nearest to it.
        """

        def order(point: Point) -> tuple[float, float, float]:
            kept, recall = self.kept(point, before), point.scores["recall"]
            over, short = (
                max(0.0, recall - self.recall_at_most),
                max(0.0, self.keep_at_least - kept),
            )
            return (over, -kept, recall) if self.prefer == "keep_most" else (short, recall, -kept)

        return min(points, key=order)


class Search:
    """Looks at points for each method, within its share of the time.

    Args:
        score: what the edited model does on the select split.
        taken: fractions of curvature that a layer may lose.
        combine: layers that are joined at most.
        journal: of all points; what stands in it is not looked at again.
        seconds: for each method, of this process.
        progress: called with the point at hand.
    """

    def __init__(
        self,
        editor: Editor,
        score: Callable[[PreTrainedModel], Scores],
        rule: Rule,
        *,
        taken: Sequence[float],
        combine: int,
        journal: Path,
        seconds: float,
        progress: Callable[[Point], None] = lambda point: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.editor, self.score, self.rule, self.taken, self.combine = (
            editor,
            score,
            rule,
            taken,
            combine,
        )
        self.journal, self.seconds, self.progress, self.clock = journal, seconds, progress, clock
        self.known = {(point.method, point.cuts): point for point in read_journal(journal)}

    def before(self) -> Point:
        """The model as it is.

        Raises:
            TrainingError: it does nothing on a suite that is to stay, so that nothing could be
                kept.
        """
        point = self._look("none", ())
        nothing = [suite for suite in self.rule.keep if not point.scores.get(suite)]
        if nothing:
            raise TrainingError(
                f"edit.keep_suites: the model scores 0 on {', '.join(nothing)} (or is not asked it); name suites that it can do"
            )
        return point

    def frontier(self, method: Method) -> list[Point]:
        """All points of one method: with every fraction the layers alone and together, then the
        best of them made better step by step.
        """
        end, layers = (
            self.clock() + self.seconds,
            sorted({target.layer for target in self.editor.targets}),
        )
        before, found = self.before().scores, []
        together = [tuple(layers)] if 1 < len(layers) <= self.combine else []
        # fractions outermost: a search that runs out of time has looked at every layer with some,
        # not at some layers with all
        for taken in self.taken:
            for group in [*together, *((layer,) for layer in layers)]:
                found += self._within(end, method, tuple((layer, taken) for layer in group))
        best = max(found, key=lambda point: self.rule.worth(point, before), default=None)
        while best is not None:
            better, seen = self._climb(
                best, found, before, lambda cuts: self._within(end, method, cuts)
            )
            found += [point for point in seen if point not in found]
            if better is best:
                return found
            best = better
        return found

    def _climb(
        self,
        best: Point,
        found: Sequence[Point],
        before: Scores,
        look: Callable[[Cuts], list[Point]],
    ) -> tuple[Point, list[Point]]:
        """The first neighbour that is worth more, or the point itself; and what was looked at."""
        seen: list[Point] = []
        for cuts in self._neighbours(best, found, before):
            seen += look(cuts)
            if seen and self.rule.worth(seen[-1], before) > self.rule.worth(best, before):
                return seen[-1], seen
        return best, seen

    def _neighbours(self, best: Point, found: Sequence[Point], before: Scores) -> Iterator[Cuts]:
        """One more layer (as it did best alone first), then a layer that is cut by a step more,
        less, or not at all.
        """
        cut, steps = dict(best.cuts), sorted(self.taken)
        alone = sorted(
            (p for p in found if len(p.cuts) == 1),
            key=lambda point: -self.rule.worth(point, before),
        )
        if len(cut) < self.combine:
            yield from (
                tuple(sorted((*best.cuts, *point.cuts)))
                for point in alone
                if point.cuts[0][0] not in cut
            )
        for layer, taken in best.cuts:
            at = steps.index(taken)
            yield from (
                tuple(sorted((cut | {layer: other}).items()))
                for other in (*steps[at + 1 : at + 2], *steps[max(0, at - 1) : at])
            )
        if len(cut) > 1:
            yield from (tuple(pair for pair in best.cuts if pair[0] != layer) for layer in cut)

    def _within(self, end: float, method: Method, cuts: Cuts) -> list[Point]:
        return (
            [self._look(method, cuts)] if (method, cuts) in self.known or self.clock() < end else []
        )

    def _look(self, method: Method | Literal["none"], cuts: Cuts) -> Point:
        if (point := self.known.get((method, cuts))) is None:
            # "none" comes without cuts, so that no method is used
            with self.editor.edited("kfac" if method == "none" else method, cuts) as kept:
                point = Point(method, cuts, kept, dict(self.score(self.editor.model)))
            self.known[method, cuts] = point
            with self.journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(point)) + "\n")
                file.flush()
                os.fsync(file.fileno())
        self.progress(point)
        return point


def read_journal(path: Path) -> list[Point]:
    """The points of a journal; a last line that a kill left half written is cut off."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [point_of(json.loads(line)) for line in whole.splitlines()]


def point_of(row: Mapping[str, Any]) -> Point:
    """A point as JSON gives it back."""
    cuts = tuple((int(layer), float(taken)) for layer, taken in row["cuts"])
    return Point(str(row["method"]), cuts, float(row["kept_fraction"]), dict(row["scores"]))
