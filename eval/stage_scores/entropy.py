"""Entropy over training: how sure the student became of its next token, beside the teacher on the
same tokens.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_filters.records.files import short
from recipes.errors import ShardError

Curve = list[dict[str, float]]

MAX_POINTS = 200


def entropy_curves(folders: Mapping[str, Path], max_points: int = MAX_POINTS) -> dict[str, Curve]:
    """Gives the entropy of student and teacher at each step of each arm.

    Args:
        folders: arm -> folder with its metrics.jsonl; an arm without that file, or that logged no
            entropy, is left out.
        max_points: of one curve; more steps than that are averaged in groups of neighbours.

    Returns:
        arm -> the student's curve, and `arm/teacher` -> the teacher's on that arm's tokens. A
        point: x step (the group's middle), y mean in nats, low and high the extremes of the group,
            n its steps.

    Raises:
        ShardError: a log is damaged.
    """
    curves = {}
    for arm, folder in folders.items():
        rows = _logged(Path(folder) / "metrics.jsonl")
        for name, key in ((arm, "student_entropy"), (f"{arm}/teacher", "teacher_entropy")):
            steps = [
                (row["step"], row[key]) for row in rows if key in row and math.isfinite(row[key])
            ]
            if steps:
                curves[name] = _thinned(steps, max_points)
    return curves


def _logged(log: Path) -> list[dict[str, Any]]:
    """The rows of a log; none where there is no log."""
    try:
        texts = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [dict(json.loads(text)) for text in texts]
    except (OSError, ValueError, TypeError) as fault:
        raise ShardError(
            f"{log}: a line is not JSON object ({short(fault)}); delete {log.parent} and train this "
            "arm again"
        ) from fault


def _thinned(steps: list[tuple[int, float]], max_points: int) -> Curve:
    size = -(-len(steps) // max_points)
    groups = [steps[start : start + size] for start in range(0, len(steps), size)]
    return [_point([step for step, _ in group], [nats for _, nats in group]) for group in groups]


def _point(steps: list[int], nats: list[float]) -> dict[str, float]:
    middle = (steps[0] + steps[-1]) / 2
    return {
        "x": middle,
        "y": round(sum(nats) / len(nats), 6),
        "low": round(min(nats), 6),
        "high": round(max(nats), 6),
        "n": len(nats),
    }
