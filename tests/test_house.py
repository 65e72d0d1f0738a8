"""The house rules that no linter knows: a one-way street, no torch downstairs, small files, plain
words.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STREET = ("recipes", "data_filters", "distill", "eval", "launch")  # imports point left only
# the order inside each room: what stands behind a bar may import what stands before it; neighbours
# do not import each other
ROOMS = {
    "recipes": "errors vocabulary yaml_locations | metrics ranges | gates find | schema | knobs | load reference",
    "data_filters": "text records | detect verify dedup | ground recall | scrub | lookup report filters | passes | sift library",
    "distill": (
        "progress weights | chat_templates | engines models adapters | problems data | generation forward "
        "| loss | targets edit | train | checks"
    ),
    "eval": "suites | ask | scores | report attacks stage_scores | scorecard | harness",
    "launch": "runs cost_estimate | inputs hub | stages chat_session undo_edit plan | chat memory pipeline doctor | ladder run | command",
}
MAX_FOLDER_FILES = 12
HEAVY = {"torch", "transformers", "datasets", "accelerate", "deepspeed", "peft"}
JUNK = {
    "util",
    "utils",
    "helper",
    "helpers",
    "misc",
    "common",
    "base",
    "core",
    "manager",
    "handler",
}
# names of the standard library and of packages
TAKEN = {"types", "trace", "signal", "datasets", "tokenizers", "logging", "statistics"}
# words of a private language that names no longer use: say what the field says (docs/house.md)
BANNED = set(
    "excused excuses fate garbage gist guilty harmless introduced killable looked moved scribe "
    "settle settled slept strike struck untaught untold workplace".split()
)
MAX_FILE_LINES, MAX_FUNCTION_LINES = 380, 60
FILES = [path for room in STREET for path in sorted((ROOT / room).rglob("*.py"))]
TEXTS = sorted(
    path
    for pattern in ("*.cfg", "*.toml", "Makefile", "**/*.txt", "**/*.py", "**/*.md", "**/*.yaml")
    for path in ROOT.glob(pattern)
    if not (parts := path.relative_to(ROOT).parts)[0].startswith(".venv")
    and parts[0] not in ("runs", "build", ".git", "site")
)
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every (dotted module, line) that a file imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (
                (f"{module}.{alias.name}" if module in STREET else module, node.lineno)
                for alias in node.names
            )


def relative(tree: ast.AST) -> list[int]:
    return [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level
    ]


def against_the_street(tree: ast.AST, room: str) -> list[str]:
    floor = STREET.index(room)
    rooms = ((module, line, module.split(".")[0]) for module, line in imports(tree))
    return [
        f"line {line}: {room} must not import {module}"
        for module, line, other in rooms
        if other in STREET[floor + 1 :]
    ]


def place(module: str, order: str) -> int | None:
    """The floor of a module inside its room; None for the room itself."""
    floors = [floor.split() for floor in order.split("|")]
    name = module.split(".")[1] if "." in module else ""
    return next((number for number, floor in enumerate(floors) if name in floor), None)


def against_the_room(tree: ast.AST, module: str, order: str) -> list[str]:
    """Imports of the own room that do not point left."""
    room, here = module.split(".")[0], place(module, order)
    if here is None:
        return []
    inner = [
        (name, line)
        for name, line in imports(tree)
        if name.split(".")[0] == room and name.split(".")[:2] != module.split(".")[:2]
    ]
    floors = [(name, line, place(name, order)) for name, line in inner]
    return [
        f"line {line}: {module} must not import {name}"
        for name, line, floor in floors
        if floor is not None and floor >= here
    ]


def binds_eval(tree: ast.AST) -> list[int]:
    """Lines that bind or call the name of the builtin: `import eval`, `import eval.x`,
    `eval(...)`.
    """
    bad = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bad += [
                node.lineno
                for alias in node.names
                if (alias.asname or alias.name.split(".")[0]) == "eval"
            ]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "eval"
        ):
            bad.append(node.lineno)
    return bad


def long_functions(tree: ast.AST) -> list[str]:
    """Functions over the cap; docstrings do not count, they are for reading."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            )
            start = (first.end_lineno or 0) if documented else node.lineno
            if (node.end_lineno or 0) - start > MAX_FUNCTION_LINES:
                found.append(f"{node.name} has {(node.end_lineno or 0) - start} lines")
    return found


def words(name: str) -> set[str]:
    """The words of a name: of snake_case and of CamelCase."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def banned_names(path: Path, tree: ast.AST) -> list[str]:
    """Names of the file, and of its public functions and classes, that hold a banned word."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node.name for node in ast.walk(tree) if isinstance(node, kinds)]
    named = [path.stem, *(name for name in public if not name.startswith("_"))]
    return [name for name in named if words(name) & BANNED]


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The first cycle found, as a path; empty where there is none."""
    done: set[str] = set()

    def visit(name: str, above: list[str]) -> list[str]:
        if name in above:
            return [*above[above.index(name) :], name]
        if name in done or name not in graph:
            return []
        done.add(name)
        return next(
            (found for other in sorted(graph[name]) if (found := visit(other, [*above, name]))), []
        )

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


@each_file
def test_a_file_keeps_the_house_rules(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert path.stem not in JUNK | TAKEN, "say what is in it"
    assert ast.get_docstring(tree), "a module starts with one line that says what it gives"
    assert not relative(tree), "write the absolute import"
    assert not against_the_street(tree, path.relative_to(ROOT).parts[0])
    room = path.relative_to(ROOT).parts[0]
    assert not against_the_room(tree, module_name(path), ROOMS[room])
    assert not banned_names(path, tree), "use the field's word, see the glossary of docs/house.md"
    assert not binds_eval(tree), "write `from eval.x import y`; the builtin is used nowhere"
    num_lines = len(text.splitlines())
    assert num_lines <= MAX_FILE_LINES
    assert not long_functions(tree)


@pytest.mark.parametrize("room", STREET)
def test_a_room_has_few_doors(room: str) -> None:
    """At most 12 files a folder, none with fewer than 3, and every file and folder has its place in
    the order of the room.
    """
    named = set(ROOMS[room].replace("|", " ").split())
    there = {
        module_name(path).split(".")[1]
        for path in FILES
        if path.parts[len(ROOT.parts)] == room and "." in module_name(path)
    }
    assert there == named
    for folder in sorted({path.parent for path in FILES if path.parts[len(ROOT.parts)] == room}):
        num_files = len(list(folder.glob("*.py")))
        assert num_files <= MAX_FOLDER_FILES, f"{folder}: {num_files} files; make a folder of some"
        assert num_files >= 3 or folder == ROOT / room, (
            f"{folder}: {num_files} files; is it a room of its own?"
        )


def test_no_cycles() -> None:
    graph = {}
    for path in FILES:
        graph[module_name(path)] = {
            module for module, _ in imports(ast.parse(path.read_text(encoding="utf-8")))
        }
    assert cycle(graph) == []


@pytest.mark.parametrize("room", STREET)
def test_a_room_is_light_to_import(room: str) -> None:
    """`import room` loads no framework; in the two lower rooms no file of theirs does."""
    modules = [room]
    if room in ("recipes", "data_filters"):
        modules += [module_name(path) for path in sorted((ROOT / room).rglob("*.py"))]
    code = f"import sys, {', '.join(modules)}\nprint(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_ascii_only(path: Path) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        assert line.isascii(), f"{path.name}:{number}: {[c for c in line if not c.isascii()]}"


@pytest.mark.parametrize(
    "path", [p for p in TEXTS if p.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_the_rules_can_be_broken() -> None:
    def tree(text: str) -> ast.AST:
        return ast.parse(text)

    assert against_the_street(tree("def f():\n    from launch import run"), "distill") == [
        "line 2: distill must not import launch.run"
    ]
    assert against_the_street(tree("from recipes.schema import Recipe"), "distill") == []
    assert (
        against_the_room(
            tree("from distill.train.loop import fit"), "distill.loss.learner", ROOMS["distill"]
        )
        != []
    )
    assert (
        against_the_room(
            tree("from distill import models\nimport distill.data.encode"),
            "distill.loss.learner",
            ROOMS["distill"],
        )
        == []
    )
    assert (
        against_the_room(
            tree("from distill.targets import cache"), "distill.edit.kfac", ROOMS["distill"]
        )
        != []
    )
    assert binds_eval(tree("import eval.scores")) == [1] and binds_eval(tree("x = eval('1')")) == [
        1
    ]
    assert binds_eval(tree("from eval.scores import rate\nmodel.eval()")) == []
    assert relative(tree("from . import x")) == [1]
    assert banned_names(
        Path("a/garbage.py"), tree("def UntoldFacts(): ...\ndef _slept(): ...")
    ) == [
        "garbage",
        "UntoldFacts",
    ]
    assert long_functions(tree("def f():\n" + "    x = 1\n" * 61)) == ["f has 61 lines"]
    assert long_functions(tree('def f():\n    """' + "doc\n" * 60 + '    """\n    x = 1')) == []
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
