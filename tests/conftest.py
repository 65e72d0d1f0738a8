"""Tests run offline and on one thread: two threads on busy cores are far slower than one."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
os.environ.setdefault("COGNITIVE_CORE_THREADS", "1")  # for the processes that tests launch
os.environ.setdefault("OMP_NUM_THREADS", "1")
# as launch.run does it
os.environ.setdefault("TORCH_EXTENSIONS_DIR", f"{sys.prefix}/torch_extensions")


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    """One thread, and tiny floats as they are, which a command run in this process flushes to zero.
    Only where torch is loaded: the lower rooms are tested without it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


# No test asserts wall time: a busy machine is no fault of ours.
settings.register_profile("house", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=3000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))
