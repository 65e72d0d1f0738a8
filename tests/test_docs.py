"""What the documentation says can be followed: links, commands, recipes and keys exist, and the
first pages stay short.
"""

import dataclasses
import re
import shlex
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from recipes.errors import PipelineError
from recipes.load import load_recipe
from recipes.schema import Recipe

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not path.relative_to(ROOT).parts[0].startswith((".venv", "runs", "build", "site"))
)
# what once was: the commands and names of these pages are those of their day
DATED = {"docs/log.md", "CHANGELOG.md", *(f"docs/decisions/{p.name}" for p in PAGES)}
CURRENT = [path for path in PAGES if str(path.relative_to(ROOT)) not in DATED]
ROOMS = ("recipes", "data_filters", "distill", "eval", "launch", "benchmarks", "tests")
OTHERS = {"pytest", "pip", "venv", "build"}  # modules that are not ours
MAX_README_WORDS = 1000
MAX_SENTENCE_WORDS = 30
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
each_current = pytest.mark.parametrize(
    "path", CURRENT, ids=lambda path: str(path.relative_to(ROOT))
)


def fences(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page: (language, content)."""
    return re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)


def code(text: str) -> list[str]:
    """Every line of code of a page: those of its fenced blocks, and what stands in backticks."""
    rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for _, block in fences(text) for line in joined(block)]
    return lines + re.findall(r"`([^`\n]+)`", rest)


def joined(block: str) -> list[str]:
    """The lines of a block without comments; a line that ends in a backslash goes on."""
    lines = block.replace("\\\n", " ").splitlines()
    return [re.sub(r"(^|\s)#.*", "", line) for line in lines]


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE)
    named = re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {re.sub(r" ", "-", heading.strip()) for heading in plain} | set(named)


def broken_links(path: Path) -> list[str]:
    """Relative links and pictures that lead nowhere, anchors included."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"src=\"([^\"]+)\"", text)
    bad = []
    for link in found:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = path if not target else path.parent / target
        if not file.exists() or (
            anchor and file.suffix == ".md" and anchor not in slugs(file.read_text("utf-8"))
        ):
            bad.append(link)
    return bad


def missing_modules(lines: list[str]) -> list[str]:
    """Modules behind `python -m` that are not there."""
    pattern = r"(?:python3? |launch .*)-m ([a-z_][\w.]*)"
    named = [name for line in lines for name in re.findall(pattern, line)]
    ours = [name for name in named if name.split(".")[0] in ROOMS or "." in name]
    return [
        name
        for name in ours
        if not (ROOT / name.replace(".", "/")).with_suffix(".py").exists()
        and not (ROOT / name.replace(".", "/") / "__main__.py").exists()
    ] + [name for name in named if name not in ours and name not in OTHERS]


def missing_targets(lines: list[str]) -> list[str]:
    """Targets behind `make` that the Makefile does not have."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, flags=re.MULTILINE))
    named = [name for line in lines for name in re.findall(r"^\s*make ([a-z][\w-]*)", line)]
    return [name for name in named if name not in targets]


def missing_files(lines: list[str]) -> list[str]:
    """Files and folders of the rooms that are named and not there."""
    pattern = rf"\b((?:{'|'.join(ROOMS)}|docs)/[\w./-]*\w(?:\.\w+)?/?)"
    named = [name for line in lines for name in re.findall(pattern, line)]
    kinds = (".py", ".yaml", ".md", ".txt", ".jsonl", ".svg", ".png")
    return [name for name in named if name.endswith(kinds) and not (ROOT / name).exists()]


def refused_commands(lines: list[str]) -> list[str]:
    """Commands that give a recipe and keys which no run would take, with the reason."""
    bad = []
    for line in lines:
        words = shlex.split(line) if line.count('"') % 2 == line.count("'") % 2 == 0 else []
        recipes = [word for word in words if re.fullmatch(r"recipes/\w+\.yaml", word)]
        keys = [word for word in words if re.fullmatch(r"[a-z_][\w.]*=.+", word, re.DOTALL)]
        if not recipes or not ("launch.run" in words or "run" in words):
            continue
        try:
            load_recipe(ROOT / recipes[0], keys)
        except PipelineError as error:
            bad.append(f"{line.strip()}: {error}")
    return bad


def keys_of(section: type, prefix: str = "") -> set[str]:
    """The dotted keys of a section of the recipe, those inside its sections too."""
    found = set()
    for name, hint in get_type_hints(section).items():
        found.add(prefix + name)
        for inner in (hint, *get_args(hint)):
            if dataclasses.is_dataclass(inner) and isinstance(inner, type):
                found |= keys_of(inner, f"{prefix}{name}.")
    return found


def unknown_keys(lines: list[str]) -> list[str]:
    """Dotted keys of a recipe that are named alone and that the schema does not have."""
    known = keys_of(Recipe)
    sections = {key.split(".")[0] for key in known if "." in key}
    named = [line.split("=")[0].split(":")[0].strip() for line in lines]
    dotted = [name for name in named if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name)]
    ours = [name for name in dotted if name.split(".")[0] in sections - {"teacher"}]
    return [name for name in ours if name not in known and not name.endswith((".py", ".yaml"))]


def refused_yaml(text: str, folder: Path) -> list[str]:
    """YAML blocks that are no part of a recipe, with the reason."""
    bad = []
    for number, (language, block) in enumerate(fences(text)):
        if language != "yaml" or not isinstance(found := yaml.safe_load(block), dict):
            continue
        part = folder / f"block_{number}.yaml"
        base = {} if "extends" in found else {"extends": str(ROOT / "recipes" / "yours.yaml")}
        part.write_text(yaml.safe_dump({**base, **found}), encoding="utf-8")
        try:
            load_recipe(part, [])
        except PipelineError as error:
            bad.append(str(error))
    return bad


def long_sentences(text: str, limit: int) -> list[str]:
    """Sentences of the running text over so many words; tables, code and headings do not count."""
    text = re.sub(r"^ *```.*?^ *```", "\n\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ *(\|.*|#.*|<.*)$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    blocks = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) ", text)
    sentences = [s for block in blocks for s in re.split(r"(?<=[.!?:])[\"')]?\s+", block)]
    return [s for s in sentences if len(s.split()) > limit]


def missing_beside(path: Path, lines: list[str]) -> list[str]:
    """Files that the page of a room names by their path inside the room, and that are not there."""
    named = [name for line in lines for name in re.findall(r"^(\w+/\w+\.(?:py|txt))$", line)]
    return [name for name in named if not any((folder / name).exists() for folder in (ROOT, path))]


@each_page
def test_links_and_anchors_lead_somewhere(path: Path) -> None:
    assert broken_links(path) == []


@each_current
def test_commands_and_files_exist(path: Path) -> None:
    lines = code(path.read_text(encoding="utf-8"))
    assert missing_modules(lines) == []
    assert missing_targets(lines) == []
    if not path.name.startswith("add_a_"):  # these pages name files that their reader will make
        assert missing_files(lines) == []
    assert missing_beside(path.parent, lines) == []


@each_current
def test_recipes_and_keys_would_be_taken(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert refused_commands(code(text)) == []
    assert unknown_keys(code(text)) == []
    assert refused_yaml(text, tmp_path) == []


@pytest.mark.parametrize("room", ROOMS[:5])
def test_every_folder_is_described(room: str) -> None:
    """docs/house.md has a line for each folder and file that stands in a room itself."""
    told = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")
    section = told.partition(f"**{room}/**")[2].partition("\n**")[0].partition("\n## ")[0]
    folders = [f"{path.parent.name}/" for path in (ROOT / room).glob("*/__init__.py")]
    files = [path.name for path in (ROOT / room).glob("*.py") if path.stem != "__init__"]
    assert [name for name in [*folders, *files] if f"`{name}`" not in section] == []


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MAX_README_WORDS


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_sentences_are_short(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert long_sentences(text, MAX_SENTENCE_WORDS) == []


def test_the_checks_can_fail(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](#one-two) [b](#three) [c](gone.md) ![d](gone.png)\n")
    assert broken_links(page) == ["#three", "gone.md", "gone.png"]
    lines = code("`python -m launch.nowhere`\n```\nmake nothing ARGS=1  # make demo\n```\n")
    assert missing_modules(lines) == ["launch.nowhere"]
    assert missing_targets(lines) == ["nothing"]
    assert missing_files(["see recipes/none.yaml and docs/house.md"]) == ["recipes/none.yaml"]
    command = "python -m launch.run recipes/smoke.yaml distill.stps=3"
    assert "did you mean 'distill.steps'" in refused_commands([command])[0]
    assert refused_commands(["python -m launch.run recipes/smoke.yaml distill.steps=3"]) == []
    assert unknown_keys(["filter.untld", "filter.mode=strict", "models.student.lora.rank"]) == [
        "filter.untld"
    ]
    assert "distill.stps" in refused_yaml("```yaml\ndistill: {stps: 3}\n```\n", tmp_path)[0]
    assert long_sentences("One two three. Four five.", 2) == ["One two three."]
