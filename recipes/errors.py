"""Faults that a person must fix. Everything else is our bug and keeps its traceback."""


class PipelineError(Exception):
    """Base of all such faults: printed as one line (or one line a fault), exit code 2.

    The message says where, what was found, what was wanted and what to do.
    """


class RecipeError(PipelineError, ValueError):
    """The recipe or the command line cannot be run as written."""


class ShardError(PipelineError, OSError):
    """A file of a run is missing, unreadable, truncated or empty."""


class WorkspaceError(PipelineError, RuntimeError):
    """The run folder belongs to another recipe, or cannot be written."""


class ModelError(PipelineError, ValueError):
    """A model, its tokenizer and its chat template do not fit together."""


class TrainingError(PipelineError, RuntimeError):
    """A training went wrong (NaN, too few ranks, ...); the last good checkpoint is kept."""
