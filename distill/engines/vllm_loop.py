"""vLLM's engine in an event loop in a thread of its own: started, asked, ended.

vLLM is imported only where an engine is opened: it is an environment of its own
(docs/decisions/0012-vllm.md).
"""

import asyncio
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from distill.engines.vllm_server import LAUNCHER_VARIABLES, flag_words, guarded, server_flags
from recipes.errors import ModelError
from recipes.schema import Model

SAY_SECONDS = 10.0


class Refused(Exception):
    """The engine will not take this request."""


class Vllm:
    """What both engines share: vLLM's own engine, which lives in an event loop in a thread.

    It is the engine that a vLLM server runs (tensor, expert, data and pipeline parallel by
    `server.options`), without the server: requests are under way together and come back as each is
    done.

    Args:
        source: a model folder, or a hub id.
        model: dtype, revision, trust_remote_code and server.options, which mean the same as to a
            server.
        extra: keyword arguments of vLLM's AsyncEngineArgs that no option says.
        say: a line for people while the engine starts.

    Raises:
        ModelError: vLLM is not installed here, or does not take the options or the model.
    """

    def __init__(
        self,
        source: Path | str,
        model: Model,
        *,
        max_logprobs: int = 20,
        extra: dict[str, Any] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self._loop, self._names = asyncio.new_event_loop(), count()
        self._engine: Any = None  # vLLM's AsyncLLM, which is imported only where it is used
        self._end: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        try:
            words = flag_words(
                server_flags(source, model, max_logprobs=max_logprobs) | model.server.options
            )
            with _alone(), guarded() as self._end:
                self._engine = _patiently(
                    self._submit(_open(words, extra or {})),
                    lambda line: say(f"vLLM of {source}: {line}"),
                )
        except BaseException:
            self.close()
            raise
        config = self._engine.vllm_config
        self.longest = int(config.model_config.max_model_len)
        # twice what runs at once: whatever ends finds its successor waiting
        self._under_way = (
            2 * config.scheduler_config.max_num_seqs * config.parallel_config.data_parallel_size
        )

    def close(self) -> None:
        """Ends the engine's processes; a call that waits for one raises ModelError."""
        if self._loop.is_closed():
            return
        self._run(_cancel_others())
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None  # now: at the interpreter's end its own last rites fail
        if self._end is not None:
            self._end()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _all(self, total: int, one: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        """one(0), one(1) ..., as many under way as keep the engine busy; the first fault ends
        all.
        """
        waiting = iter(range(total))

        async def work() -> None:
            for number in waiting:
                await one(number)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._under_way, total)):
                    group.create_task(work())
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None

    async def _last(self, outputs: AsyncIterator[Any]) -> Any:
        """The finished output of a request.

        Raises:
            Refused: the engine will not take it.
        """
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            return [found async for found in outputs][-1]
        except EngineDeadError as fault:
            raise ModelError("vLLM's engine has died; its own words above say why") from fault
        except (VLLMClientError, ValueError) as fault:
            raise Refused(" ".join(str(fault).split())) from fault

    def _name(self) -> str:
        return str(next(self._names))

    def _submit(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """In the loop's thread; waits for it. A fault, or Ctrl-C here, ends it."""
        task = self._submit(work)
        try:
            return task.result()
        except (KeyboardInterrupt, SystemExit):
            task.cancel()
            raise
        except CancelledError as fault:
            raise ModelError("the engine was closed while requests were under way") from fault


async def _open(words: list[str], extra: dict[str, Any]) -> Any:
    """vLLM's engine of a server's options.

    Raises:
        ModelError: see Vllm.
    """
    # otherwise it talks through every progress bar
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.utils.argparse_utils import FlexibleArgumentParser
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as fault:
        raise ModelError(
            f"engine vllm needs vLLM in this environment ({fault}); install it, or have it served: engine endpoint"
        ) from fault

    class Parser(FlexibleArgumentParser):
        def error(self, message: str) -> None:
            raise ModelError(
                f"server.options of engine vllm: {message}; see `vllm serve --help` of your version"
            )

    given = AsyncEngineArgs.from_cli_args(AsyncEngineArgs.add_cli_args(Parser()).parse_args(words))
    given.disable_log_stats = True
    for name, value in extra.items():
        setattr(given, name, value)
    try:
        return AsyncLLM.from_engine_args(given)
    except (ValueError, RuntimeError, OSError, NotImplementedError) as fault:
        lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
        said = next(
            (line for line in lines if line.startswith("Value error, ")),
            lines[0] if lines else type(fault).__name__,
        )
        said = re.sub(r" \[type=.*", "", said)  # pydantic repeats the whole input there
        raise ModelError(
            f"vLLM does not start with {given.model}: {said}; fix server.options or the model"
        ) from fault


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _patiently(task: "Future[Any]", say: Callable[[str], None]) -> Any:
    """Its result, with a line for people now and then."""
    began = time.monotonic()
    while True:
        try:
            found = task.result(SAY_SECONDS)
        except TimeoutError:
            if task.done():
                raise
            say(f"starting, {time.monotonic() - began:.0f} s")
        else:
            say(f"ready after {time.monotonic() - began:.0f} s")
            return found


@contextmanager
def _alone() -> Iterator[None]:
    """Without what a launcher has told this process: vLLM starts processes of its own and would
    take itself for a rank.
    """
    held = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if LAUNCHER_VARIABLES.fullmatch(name)
    }
    try:
        yield
    finally:
        os.environ.update(held)
