"""Draws the picture of the README from a run's scorecard, with the charts of the report.

python -m benchmarks.picture runs/planted_world docs/images/scorecard.svg
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_filters.records.files import replacing
from eval.report.charts import bars, plane
from eval.report.style import LIGHT, OUTCOMES_LIGHT, PAPER

CONTENDERS = ("teacher", "control", "student")
# metric -> what is written beside its bars
ROWS = {
    "reasoning": "reasoning",
    "off_manifold": "out of dist.",
    "open_book": "reading",
    "basics": "basics",
    "recall": "recall",
    "recall_never_trained": "never trained",
    "abstention": "abstains",
    "false_abstention": "false abst.",
}
WIDTH, HEIGHT = 960, 460
LEFT_AT, RIGHT_AT, TOP = 10, 500, 60
STYLE = f"""
text {{ fill: #1b1e22; font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}
.head {{ font-size: 17px; font-weight: 600; }}
.soft {{ fill: #5c636a; }}
.own {{ fill: currentColor; font-weight: 600; paint-order: stroke; stroke: {PAPER[0]}; stroke-width: 3px; }}
.goal {{ fill: {OUTCOMES_LIGHT["correct"]}; }}
.core {{ fill: {OUTCOMES_LIGHT["correct"]}; fill-opacity: 0.1; }}
.grid {{ stroke: #dfe3e7; }}
.whisker {{ stroke: currentColor; stroke-width: 1.5; }}
.over {{ stroke: #1b1e22; stroke-width: 1.2; }}
.dot {{ fill: currentColor; stroke: {PAPER[0]}; }}
.bar {{ fill: currentColor; }}
""" + "\n".join(f".s{number} {{ color: {color}; }}" for number, color in enumerate(LIGHT))


def main() -> None:
    args = _arguments()
    file = args.run if args.run.is_file() else args.run / "evaluate" / "scorecard.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    args.to.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.to) as part:
        part.write_text(picture(card), encoding="utf-8")


def picture(card: Mapping[str, Any]) -> str:
    """Gives one SVG that needs no other file: recall against reasoning, and the main metrics.

    Args:
        card: a scorecard as scorecard.json holds it; metrics that it lacks are left out.

    Returns:
        ASCII text; the same card gives the same text.
    """
    metrics = {name: _shown(card["metrics"].get(name, {})) for name in ("recall", "reasoning")}
    rows = {
        f"main/{named}": _shown(card["metrics"][name])
        for name, named in ROWS.items()
        if name in card["metrics"]
    }
    view = {**card, "metrics": {**metrics, **rows}}
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER[0]}"/>',
        _text(LEFT_AT, 26, "Reasoning against recall of facts", "head"),
        _text(LEFT_AT, 46, "Good: up and to the left. Lines are 95 % intervals.", "soft"),
        _text(RIGHT_AT, 26, f"Scorecard of {card['recipe']}", "head"),
        _text(RIGHT_AT, 46, "Bars in the order: " + ", ".join(CONTENDERS) + ".", "soft"),
        _placed(plane(view), LEFT_AT),
        _placed(bars(view, list(rows)), RIGHT_AT),
    ]
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>\n"])


def _shown(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in CONTENDERS if name in found}


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{text}</text>'


def _placed(drawing: str, left: int) -> str:
    """A chart of the report, with a place and a size inside another drawing."""
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing).groups()  # type: ignore[union-attr]
    return drawing.replace(
        "<svg ", f'<svg x="{left}" y="{TOP}" width="{width}" height="{height}" ', 1
    )


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.picture", description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run, or a scorecard.json")
    parser.add_argument("to", type=Path, help="the SVG to write")
    return parser.parse_args(given)


if __name__ == "__main__":
    main()
