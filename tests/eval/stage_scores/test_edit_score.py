"""The frontier of an edit, read back."""

import json
from pathlib import Path

import pytest

from eval.stage_scores.edit_score import frontier_curves
from recipes.errors import ShardError


def point(method: str, recall: float, reasoning: float) -> dict[str, object]:
    return {"method": method, "scores": {"recall": recall, "reasoning": reasoning}}


def test_the_frontier_keeps_the_most_at_each_recall(tmp_path: Path) -> None:
    points = [
        point("kfac", 0.5, 0.8),
        point("kfac", 0.1, 0.4),
        point("kfac", 0.3, 0.2),
        point("svd", 0.2, 0.9),
    ]
    path = tmp_path / "frontier.json"
    report = {"before": {"reasoning": 0.8}, "rule": {"keep": ["reasoning"]}, "points": points}
    path.write_text(json.dumps(report))
    assert frontier_curves(path) == {
        "edit_unhealed": [{"x": 0.1, "y": 0.5}, {"x": 0.5, "y": 1.0}],
        "edit_svd": [{"x": 0.2, "y": 1.0}],
    }


@pytest.mark.parametrize("text", ["", "null", "[1]", '{"points": []}'])
def test_a_damaged_frontier_is_one_line_with_the_way_out(text: str, tmp_path: Path) -> None:
    path = tmp_path / "frontier.json"
    path.write_text(text)
    with pytest.raises(ShardError, match="run the stage edit again"):
        frontier_curves(path)
