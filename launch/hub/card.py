"""The model card: what was made, how, and what the scorecard says of it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

MEASURED = {
    "reasoning": "problems whose question holds all that is needed",
    "open_book": "reading: the answer stands in the text",
    "counterfactual": "follows a text that contradicts a fact",
    "basics": "common knowledge that should stay",
    "recall": "closed-book recall of trained facts (lower is better)",
    "recall_never_trained": "the same on facts nobody trained (the zero)",
    "recall_teacher_only": "recall of facts that occur in no trace (lower is better)",
    "abstention": "declines when it was not told",
    "false_abstention": "declines though it was told (lower is better)",
}
CLAIMS = {
    False: "**Made from scratch.** Its weights began random. It learned from the scrubbed traces alone, so the claim is that the facts "
    "taken out of them never entered it. What the filter missed, and what a teacher's probabilities can carry without a word, is the "
    "risk; the recall rows of the scorecard measure it.",
    True: "**Made from a pretrained base.** Distilling was meant to add no facts. What the base knew before is still in there unless "
    "it was taken out afterwards; this card does not claim that the model knows nothing.",
}
CARD = """# {title}

A small language model distilled to reason like its teacher and to remember as little as possible: it works with what it
is told, and says so when it was not told.

{claim}

## Use

```python
from transformers import pipeline

chat = pipeline("text-generation", model="{address}")
messages = [{{"role": "user", "content": "Ida has 3 apples. Ida finds 4 more. How many apples does Ida have now?"}}]
print(chat(messages, max_new_tokens=256)[0]["generated_text"][-1]["content"])
```

Put the facts into the question (or a text that holds them); asked for a fact from memory it should decline.

{scorecard}

## How it was made

{made}

The whole run, every setting of it, is [recipe.yaml](recipe.yaml).

## Limits

- Only what the scorecard lists was measured, on its problems and its facts. Memory of anything else is unknown.
- A student that was taught to decline can look as if it had forgotten. `recall` therefore counts a forced choice too, which
  nobody can refuse, and `recall_four_bit`, `recall_relearned_others` and `recall_prompts`, where they stand above, say what attacks
  brought back; none of this is proof against a more patient one.
- It can reason wrongly and sound sure. Its licence is stated above; those of the teacher and of the traces are their own.
"""


def card_text(
    scorecard: Mapping[str, Any],
    scorecard_md: str,
    *,
    arm: str,
    license: str,
    base_model: str | None,
    teacher_name: str,
    notes: Mapping[str, object],
    repo: str | None,
) -> str:
    """README.md of a published folder: metadata for the hub, then the card for people.

    Args: as in `publish_student`.
    """
    title = repo.rpartition("/")[2] if repo else f"{scorecard.get('recipe', 'model')}-{arm}"
    found = metadata(scorecard, title, arm=arm, license=license, base_model=base_model)
    card = CARD.format(
        title=title,
        claim=CLAIMS[base_model is not None],
        address=repo or "PATH_OF_THIS_FOLDER",
        scorecard=_lowered(scorecard_md),
        made=_made(arm, base_model, teacher_name, notes),
    )
    return f"---\n{yaml.safe_dump(found, sort_keys=False)}---\n\n{card}"


def metadata(
    scorecard: Mapping[str, Any], title: str, *, arm: str, license: str, base_model: str | None
) -> dict[str, Any]:
    """The model card's metadata as the hub reads it: licence, base, tags, and the arm's rates as
    results.
    """
    found: dict[str, Any] = {
        "license": license,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
    }
    if base_model and is_hub_id(base_model):
        found["base_model"] = base_model
    found["tags"] = ["knowledge-distillation", "reasoning", "cognitive-core"]
    results = list(_results(scorecard, arm))
    return found | ({"model-index": [{"name": title, "results": results}]} if results else {})


def _results(scorecard: Mapping[str, Any], arm: str) -> Iterator[dict[str, Any]]:
    """One result a metric: the hub tells results apart by data set configuration."""
    label = f"Scorecard of {scorecard.get('recipe', 'a recipe')}"
    for name, meaning in MEASURED.items():
        entry = scorecard.get("metrics", {}).get(name, {}).get(arm)
        if entry is not None:
            yield {
                "task": {"type": "text-generation", "name": "Text Generation"},
                "dataset": {
                    "type": "cognitive-core-scorecard",
                    "name": f"{label}: {name}",
                    "config": name,
                    "split": "report",
                },
                "metrics": [
                    {"type": "accuracy", "name": meaning, "value": round(float(entry["value"]), 4)}
                ],
            }


def is_hub_id(name: str) -> bool:
    """Whether this can be a hub repository: no folder of this machine, no installed package, no
    address.
    """
    return (
        re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None
        and not name.startswith(".")
        and not Path(name).exists()
    )


def _made(arm: str, base_model: str | None, teacher_name: str, notes: Mapping[str, object]) -> str:
    """A list for people; of a folder on the training machine only the last name is told."""
    before = _public(base_model) if base_model else "random weights"
    lines = {
        "teacher": _public(teacher_name),
        "student before training": before,
        "arm": arm,
    } | dict(notes)
    return "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in lines.items())


def _public(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() or Path(name).exists() else name


def _lowered(markdown: str) -> str:
    """Headings one level down: the card has its own title."""
    return re.sub(r"^(#+ )", r"#\1", markdown.strip(), flags=re.MULTILINE)
