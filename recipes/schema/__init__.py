"""Every knob of a run: one file a section, one frozen dataclass each, with units and ranges in the
trailing comments.
"""

from recipes.schema.edit import Edit, Heal
from recipes.schema.evaluate import Evaluate, HarnessTask, Tools
from recipes.schema.filter import Filter, Lookups, Probes
from recipes.schema.generate import Generate, Review, Source
from recipes.schema.models import Lora, Model, Models, Server, Shape, require
from recipes.schema.planted import Planted
from recipes.schema.publish import Publish
from recipes.schema.recipe import Recipe
from recipes.schema.sleep import Sleep
from recipes.schema.training import (
    Distill,
    Phase,
    Probe,
    Targets,
    Teacher,
    Training,
    WatchdogLimits,
)

__all__ = [
    "Distill",
    "Edit",
    "Evaluate",
    "Filter",
    "Generate",
    "HarnessTask",
    "Heal",
    "Lookups",
    "Lora",
    "Model",
    "Models",
    "Phase",
    "Planted",
    "Probe",
    "Probes",
    "Publish",
    "Recipe",
    "Review",
    "Server",
    "Shape",
    "Sleep",
    "Source",
    "Targets",
    "Teacher",
    "Tools",
    "Training",
    "WatchdogLimits",
    "require",
]
