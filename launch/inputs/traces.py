"""Which traces a run filters and learns from, and how they are scrubbed."""

from functools import cached_property
from pathlib import Path

from data_filters.filters.settings import make_scrubber
from data_filters.scrub.scrub import Scrubber
from launch.inputs.digests import digest_source
from launch.runs.run_folder import Workspace
from recipes.schema import Recipe


class Traces:
    """The traces of a run: its own, or those that the recipe names."""

    def __init__(self, recipe: Recipe, work: Workspace) -> None:
        self.recipe, self.work = recipe, work

    @cached_property
    def scrubber(self) -> Scrubber:
        """Finds and treats facts as the section filter says."""
        return make_scrubber(self.recipe.filter, self.recipe.seed)

    @property
    def written(self) -> str | Path:
        """What the filter reads: the traces as the teacher wrote them."""
        return self.recipe.filter.traces or self.work.folder("generate")

    @property
    def kept(self) -> str | Path:
        """What the students learn from: a folder, a file or a data set."""
        return self.recipe.distill.traces or self.work.folder("filter") / "kept"

    def written_digest(self) -> str:
        """Identifies `written`."""
        outside = self.recipe.filter.traces
        return digest_source(outside) if outside else self.work.digest("generate")

    def kept_digest(self) -> str:
        """Identifies `kept`."""
        outside = self.recipe.distill.traces
        return digest_source(outside) if outside else self.work.digest("filter")
