"""Entropy over training: how sure the student became of its next token, beside the teacher on the
same tokens.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

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
    """
    curves = {}
    for arm, folder in folders.items():
        log = Path(folder) / "metrics.jsonl"
        rows = (
            [json.loads(text) for text in log.read_text(encoding="utf-8").splitlines()]
            if log.exists()
            else []
        )
        for name, key in ((arm, "student_entropy"), (f"{arm}/teacher", "teacher_entropy")):
            steps = [
                (row["step"], row[key]) for row in rows if key in row and math.isfinite(row[key])
            ]
            if steps:
                curves[name] = _thinned(steps, max_points)
    return curves


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
