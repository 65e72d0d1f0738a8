"""The console command does what the modules do."""

import pytest

from launch import command


def test_help_names_every_command_and_recipe(capsys):
    assert command.main(["--help"]) == 0 == command.main([])
    said = capsys.readouterr().out
    for name in (*command.COMMANDS, "smoke", "planted_world", "zero2_8gpu.yaml"):
        assert name in said


def test_an_unknown_command_is_one_line(capsys):
    assert command.main(["runn", "smoke"]) == 2
    said = capsys.readouterr().err
    assert said == "error: no command 'runn'; there are run, doctor, chat, ladder, undo-edit\n"


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_has_its_own_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        command.main([name, "--help"])
    assert end.value.code == 0 and "usage:" in capsys.readouterr().out


def test_a_recipe_is_run_by_name(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert command.main(["run", "smoke", "--show", "seed=7"]) == 0
    assert "\nseed: 7\n" in capsys.readouterr().out
    assert command.main(["run", "smok"]) == 2
    assert "did you mean 'smoke'?" in capsys.readouterr().err
