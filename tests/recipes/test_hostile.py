"""Recipes that mean harm, or were mangled: one line each, at once, never a traceback."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.run import main
from recipes.errors import RecipeError
from recipes.load import load_recipe

SMOKE = Path(__file__).parents[2] / "recipes" / "smoke.yaml"
LEVELS = 60


def aliases(form: str) -> str:
    """Each level repeats the one before nine times: 9^60 values in some lines."""
    lines = ["name: x", "a0: &a0 [x]" if form == "list" else "a0: &a0 {k: 1}"]
    for n in range(1, LEVELS):
        repeated = ", ".join([f"*a{n - 1}"] * 9)
        body = f"[{repeated}]" if form == "list" else f"{{<<: [{repeated}]}}"
        lines.append(f"a{n}: &a{n} {body}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (aliases("list"), "holds more than 100,000 values"),
        (aliases("merge"), "holds more than 100,000 values"),
        ("name: &a [*a]", "an alias contains itself"),
        ("name: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("name: x\nseed: !!bool maybe", "x.yaml:2: broken YAML: 'maybe' cannot be read as bool"),
        ('name: x\nseed: !!int ""', "x.yaml:2: broken YAML: '' cannot be read as int"),
        ("name: !!timestamp x", "x.yaml:1: broken YAML: 'x' cannot be read as timestamp"),
        ("name: x\nseed: 0x" + "f" * 5000, "is too large a number"),
        ("name: x\nseed: " + "7" * 400, "is too large a number"),
        ("name: x\nseed: " + "7" * 5000, "cannot be read as int"),
        ("name: x\nseed: " + "1:" * 3000 + "1", "is too large a number"),
        ('extends: "a\\0b.yaml"', "no recipe at"),
        ("extends: " + "a" * 300, "no recipe at"),
        ("extends: [smoke.yaml]", "extends is a list of 1, expected the name of one recipe file"),
        ("extends: {a: b}", "expected the name of one recipe file"),
        ("extends: 7", "expected the name of one recipe file"),
        (f'extends: {SMOKE}\nruns: "a\\0b"', "runs is 'a\\x00b', expected text without NUL"),
        (f'extends: {SMOKE}\ngenerate: {{system: "\\ud83d"}}', "half of a surrogate pair"),
    ],
)
def test_a_hostile_recipe_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as fault:
        load_recipe(path)
    assert said in str(fault.value)
    assert len(str(fault.value)) < 1000


def test_a_circle_of_links_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to(tmp_path / "b.yaml")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "a.yaml")
    with pytest.raises(RecipeError, match="no recipe at"):
        load_recipe(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "LOCAL_RANK"])
def test_a_rank_that_is_no_number_is_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "three")
    assert main([str(SMOKE), "--show"]) == 2
    said = capsys.readouterr()
    assert f"environment: {name} is 'three'" in said.out + said.err


MANGLED = st.one_of(
    st.text(max_size=200),
    st.builds(
        lambda text, at, cut, put: text[:at] + put + text[at + cut :],
        st.just(SMOKE.read_text(encoding="utf-8")),
        st.integers(0, 1500),
        st.integers(0, 40),
        st.text(st.characters(codec="utf-8"), max_size=12)
        | st.sampled_from(["!!int ", "&a ", "*a", "<<: ", "{", "]", "\t", "-1", ".nan", ".inf"]),
    ),
)


@pytest.mark.fuzz
@given(text=MANGLED)
def test_a_mangled_recipe_loads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("mangled") / "x.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_recipe(path)
    except RecipeError as fault:
        assert str(fault)
