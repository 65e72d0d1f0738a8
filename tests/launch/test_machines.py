"""accelerate's own parser accepts every machine file, and none of them decides what the recipe
decides.
"""

from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "launch" / "accelerate").glob("*.yaml"))
EXPECTED = {
    "cpu": ("NO", 1, None),
    "zero2_cpu2": ("DEEPSPEED", 2, 2),
    "zero3_cpu2": ("DEEPSPEED", 2, 3),
    "zero2_8gpu": ("DEEPSPEED", 8, 2),
    "zero3_8gpu": ("DEEPSPEED", 8, 3),
    "zero3_multinode": ("DEEPSPEED", 16, 3),
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_reads_it(path: Path) -> None:
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    arguments = ["--config_file", str(path), "-m", "launch.run", "recipe.yaml", "distill.steps=3"]
    args, config, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    kind, processes, stage = EXPECTED[path.stem]
    assert (config.distributed_type.value, args.num_processes, args.zero_stage) == (
        kind,
        processes,
        stage,
    )
    assert args.use_deepspeed is (kind == "DEEPSPEED")
    assert args.training_script_args == ["recipe.yaml", "distill.steps=3"]
    assert args.gradient_accumulation_steps is None and args.gradient_clipping is None, (
        "left out means auto"
    )
    assert not args.zero3_init_flag


def test_all_of_them_are_here() -> None:
    assert {path.stem for path in FILES} >= set(EXPECTED)
