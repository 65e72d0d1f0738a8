"""Recipes are found by name from any folder, and paths in them from the folder of the file."""

from pathlib import Path

import pytest

from recipes.errors import RecipeError
from recipes.find import FOLDER, find_recipe, recipe_names
from recipes.load import load_recipe

TEACHER = "models:\n  teacher: some/teacher\n  student: {path: student}\n"


def test_a_name_is_a_recipe_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe("smoke") == FOLDER / "smoke.yaml"
    assert load_recipe("smoke").name == "smoke"
    assert {"smoke", "planted_world", "yours"} <= set(recipe_names())


def test_a_path_that_is_there_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("smoke").write_text("")
    assert find_recipe("smoke") == Path("smoke")


@pytest.mark.parametrize("path", ["recipes/smok.yaml", "smoke.yaml", "a/b"])
def test_what_looks_like_a_path_is_one(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe(path) == Path(path)


def test_an_unknown_name_is_one_line_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as fault:
        load_recipe("planted_wold")
    said = str(fault.value)
    assert said.startswith("no recipe named 'planted_wold'; did you mean 'planted_world'? ")
    assert "there are compare, core_1b, " in said and "\n" not in said


@pytest.fixture
def recipe(tmp_path):
    """A recipe in a folder of its own, beside a model and passages."""
    folder = tmp_path / "mine"
    (folder / "student").mkdir(parents=True)
    (folder / "passages.jsonl").write_text("{}\n")
    (folder / "mine.yaml").write_text(
        f"name: mine\n{TEACHER}generate: {{knowledge_base: passages.jsonl, tools: [lookup]}}\n"
        "filter: {gazetteer: [passages.jsonl, absent.csv]}\n"
    )
    return folder / "mine.yaml"


def test_paths_are_relative_to_the_recipe(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = load_recipe(recipe)
    assert found.generate.knowledge_base == "mine/passages.jsonl"
    assert found.models.student.path == "mine/student"
    # the name of a hub model, and what is not there
    assert found.models.teacher.path == "some/teacher"
    assert list(found.filter.gazetteer) == ["mine/passages.jsonl", "absent.csv"]


def test_from_another_folder_they_are_whole_paths(recipe, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_recipe(recipe).generate.knowledge_base == str(recipe.parent / "passages.jsonl")


def test_names_that_are_no_paths_stay(recipe, tmp_path, monkeypatch):
    """publish.student is the name of an arm, also beside a folder of that name."""
    monkeypatch.chdir(tmp_path)
    assert load_recipe(recipe).publish.student == "student"


def test_a_base_recipe_brings_its_own_folder(recipe, tmp_path, monkeypatch):
    (tmp_path / "other.yaml").write_text("extends: mine/mine.yaml\nname: other\n")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("other.yaml").generate.knowledge_base == "mine/passages.jsonl"


def test_the_command_line_is_relative_to_the_working_directory(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "passages.jsonl").write_text("")
    assert (
        load_recipe(recipe, ["generate.knowledge_base=passages.jsonl"]).generate.knowledge_base
        == "passages.jsonl"
    )


def test_questions_of_the_package_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [source.path for source in load_recipe("smollm2").generate.sources if source.path]
    assert paths and all(Path(path).is_file() for path in paths)
