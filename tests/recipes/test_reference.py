"""docs/recipe.md is what the schema says."""

from pathlib import Path

from recipes.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: make docs"


def test_what_the_page_says_of_a_field() -> None:
    lines = reference().splitlines()
    assert any(line.startswith("| `samples_per_problem` | int | `1` |") for line in lines)
    assert (
        '| `optimizer` | `adamw`, `muon` | `"adamw"` | muon: matrices by Muon, the rest by AdamW |'
        in lines
    )
    assert "| `name` | str | **required** | the run folder is RUNS/NAME |" in lines
    assert "## `models.teacher.lora`, `models.student.lora`, `evaluate.models.NAME.lora`" in lines


def test_comments_above_beside_and_inside_a_field_are_read() -> None:
    lines = reference().splitlines()

    def meaning(field: str) -> str:
        return next(line for line in lines if line.startswith(f"| `{field}` |")).split(" | ")[-1]

    assert meaning("kl_spike_ratio").startswith("divergence of a step over its running mean")
    assert meaning("mode").startswith("strict: drop")
    assert meaning("num_digits") == "digits of these numbers |"


def test_inherited_fields_stand_in_each_section() -> None:
    before, _, distill = reference().partition("## `distill`\n")
    assert "| `warmup_steps` | int |" in distill and "| `warmup_steps` | int |" in before
