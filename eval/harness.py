"""lm-evaluation-harness as an adapter: its tasks, asked of our contenders, as answers with our
intervals and paired differences.

Source: Gao et al., lm-evaluation-harness, https://github.com/EleutherAI/lm-evaluation-harness
(0.4.13).
"""

import functools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from eval.scores.answers.columns import Columns, select
from eval.scores.answers.read import read_answers
from eval.scores.differences import difference, pairs
from eval.scores.measured import Bootstrap, measured
from eval.scores.numbers import Rate
from eval.suites.task_files import task_rows
from recipes.errors import PipelineError, RecipeError
from recipes.gates import nearest
from recipes.schema import HarnessTask
from recipes.vocabulary import AnswerMode, Outcome

Spec = str | dict[str, Any]
INSTALL = "evaluate.harness needs lm-evaluation-harness; pip install 'cognitive-core[lm_eval]'"


def check_tasks(tasks: Sequence[HarnessTask]) -> str:
    """The tasks' labels, for people; refuses what is not installed or not there, before any model
    is loaded or data set looked at.

    Raises:
        RecipeError: one line for each task that is not there, with the nearest name.
    """
    _lm_eval()
    faults = []
    for task in tasks:
        try:
            _spec(task)
        except RecipeError as fault:
            faults.append(str(fault))
    if faults:
        raise RecipeError("\n".join(faults))
    return ", ".join(task.label for task in tasks)


def run_task(
    task: HarnessTask,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    contender: str,
    system: str | None = None,
) -> list[dict[str, Any]]:
    """Answer rows of one contender to one task: suite harness/LABEL, family = the task's axis, a
    question a row and cluster.

    Outcomes are correct or wrong, as the task's metric says: the mean of `correct` is the number
    that lm-eval itself prints.

    Args:
        system: system prompt, used only where the task is asked through the chat template.

    Raises:
        RecipeError: the task's data cannot be had, or it has no such metric, or one that is not 0
            or 1 for each item.
    """
    lm_eval = _lm_eval()
    from lm_eval.models.huggingface import HFLM

    with _quiet():
        loaded = _load(task)
        _check(task, loaded)
        asked = HFLM(
            pretrained=model,
            tokenizer=tokenizer,
            batch_size=task.batch_sequences,
            think_end_token=task.think_end,
        )
        found = lm_eval.simple_evaluate(
            model=asked,
            tasks=list(loaded["tasks"].values()),
            task_manager=_manager(False),
            num_fewshot=task.num_fewshot,
            limit=task.limit,
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=task.chat,
            system_instruction=system if task.chat else None,
            gen_kwargs={"max_gen_toks": task.max_new_tokens} if task.max_new_tokens else None,
        )
    return [
        _row(task, contender, tokenizer, name, sample)
        for name, samples in found["samples"].items()
        for sample in _of_filter(task, samples)
    ]


def task_files(task: HarnessTask) -> list[str]:
    """The local files that a task is made of: its own, and those of its data that a YAML file
    names.
    """
    if not task.is_file or not task.task.endswith((".yaml", ".yml")):
        return [task.task] * task.is_file

    class TaskLoader(yaml.SafeLoader):
        """Reads !function as its name: the code that it names is not looked at."""

    TaskLoader.add_multi_constructor("!", lambda loader, suffix, node: suffix)
    try:
        body = yaml.load(Path(task.task).read_text(encoding="utf-8"), Loader=TaskLoader)
        data = (body.get("dataset_kwargs") or {}).get("data_files") or []
    except (OSError, yaml.YAMLError, AttributeError) as fault:
        raise RecipeError(
            f"evaluate.harness: {task.task} is not a task file: {str(fault).splitlines()[0]}"
        ) from fault
    data = (
        list(data.values()) if isinstance(data, dict) else [data] if isinstance(data, str) else data
    )
    named = [path for each in data for path in ([each] if isinstance(each, str) else each)]
    return [task.task, *(path for path in named if Path(path).is_file())]


def add_harness(
    card: dict[str, Any],
    answers: Iterable[Mapping[str, Any]],
    tasks: Sequence[HarnessTask],
    *,
    bootstrap: int,
    seed: int,
) -> None:
    """Puts harness/LABEL among the metrics and paired differences of a scorecard, and what each
    task was under `harness`.

    Args:
        card: from build_scorecard; its contenders are those that count.
        answers: rows of run_task, of all contenders and tasks.
        bootstrap: resamples of an interval.
        seed: of the resampling.
    """
    table, draws = read_answers(answers), Bootstrap(bootstrap, seed)
    for task in tasks:
        suite = f"harness/{task.label}"
        sheets = {name: select(table, suite=suite, contender=name) for name in card["contenders"]}
        card["metrics"][suite] = measured(
            ((name, _rate(sheet)) for name, sheet in sheets.items()), draws
        )
        card["paired"][suite] = {
            f"{first}-{second}": apart.entry(suite, draws)
            for first, second in pairs(card["contenders"])
            if (apart := difference(sheets[first], sheets[second])) is not None
        }
        card.setdefault("harness", {})[suite] = _about(task)


def _rate(rows: Columns) -> Rate:
    return Rate(rows["cluster"], rows["outcome"] == Outcome.CORRECT)


def _about(task: HarnessTask) -> str:
    """What a number of a task is, for people."""
    shots = (
        "examples as the task has them"
        if task.num_fewshot is None
        else f"{task.num_fewshot} examples"
    )
    asked = ", through the chat template" if task.chat else ""
    part = f", first {task.limit} items" if task.limit else ""
    return f"{task.axis}, {task.metric} of lm-eval {_lm_eval().__version__}, {shots}{asked}{part}"


def _lm_eval() -> Any:
    try:
        import lm_eval
    except ImportError as fault:
        raise RecipeError(INSTALL) from fault
    return lm_eval


@functools.cache
def _manager(named: bool) -> Any:
    """The index of tasks; that of all public ones takes seconds, so it is made only where one is
    named.
    """
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=named)


def _spec(task: HarnessTask) -> Spec:
    """What lm-eval is asked for: a name, a YAML file, or the task that a JSONL file makes."""
    if not task.is_file:
        if task.task not in _manager(True).task_index:
            raise RecipeError(
                f"evaluate.harness: lm-eval has no task {task.task!r}; {_near(task.task)}"
            )
        return task.task
    path = Path(task.task)
    if not path.is_file():
        raise RecipeError(f"evaluate.harness: no task file {path}; fix the path")
    return str(path) if path.suffix in (".yaml", ".yml") else _of_rows(task, path)


def _near(name: str) -> str:
    hint = nearest(name, _manager(True).all_tasks)
    return hint if hint.startswith("did") else "python -m lm_eval ls tasks lists them"


def _of_rows(task: HarnessTask, path: Path) -> dict[str, Any]:
    """The task of a file of question and answer: written freely, or chosen where rows have
    choices.
    """
    try:
        rows = task_rows(str(path))
    except PipelineError as fault:
        raise RecipeError(f"evaluate.harness: {fault}") from fault
    body: dict[str, Any] = {
        "task": task.label,
        "custom_dataset": lambda **_: {"test": Dataset.from_list(rows)},
        "test_split": "test",
        "doc_to_text": "{{question}}\nAnswer:",
    }
    if "choices" in rows[0]:
        means = [
            {"metric": name, "aggregation": "mean", "higher_is_better": True}
            for name in ("acc", "acc_norm")
        ]
        return body | {
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "doc_to_target": "answer",
            "metric_list": means,
        }
    exact = {
        "metric": "exact_match",
        "aggregation": "mean",
        "higher_is_better": True,
        "ignore_case": True,
        "ignore_punctuation": True,
    }
    stripped = [{"function": "remove_whitespace"}, {"function": "take_first"}]
    return body | {
        "output_type": "generate_until",
        "doc_to_target": "{{answer}}",
        "metric_list": [exact],
        "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 64},
        "filter_list": [{"name": "stripped", "filter": stripped}],
    }


def _load(task: HarnessTask) -> Mapping[str, Any]:
    """The task with its data, as lm-eval's TaskManager gives it."""
    spec = _spec(task)
    try:
        return dict(_manager(not task.is_file).load([spec]))
    # data sets raise many kinds, all of which mean: not there, not allowed, no network, no such
    # task
    except Exception as fault:
        why = (str(fault).strip().splitlines() or [type(fault).__name__])[0][:200]
        raise RecipeError(
            f"evaluate.harness task {task.task} does not load: {type(fault).__name__}: {why}"
        ) from fault


def _check(task: HarnessTask, loaded: Mapping[str, Any]) -> None:
    """Refuses what lm-eval would pass over in silence, or find out after the last answer."""
    metric, _, _filter = task.metric.partition(",")
    for name, one in loaded["tasks"].items():
        known = list(one.aggregation())
        if metric not in known:
            raise RecipeError(
                f"evaluate.harness task {name} has no metric {metric!r}; {nearest(metric, known)}"
            )
        if task.num_fewshot and one.get_config("num_fewshot") == 0:
            raise RecipeError(
                f"evaluate.harness task {name} says num_fewshot 0 and takes no other, found "
                f"{task.num_fewshot}; leave it out"
            )


def _of_filter(
    task: HarnessTask, samples: Sequence[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """The items as the wanted filter read them; the task's first one where the recipe names
    none.
    """
    known = list(dict.fromkeys(sample["filter"] for sample in samples))
    wanted = task.metric.partition(",")[2] or known[0]
    if wanted not in known:
        raise RecipeError(
            f"evaluate.harness task {task.label} has no filter {wanted!r}; {nearest(wanted, known)}"
        )
    return (sample for sample in samples if sample["filter"] == wanted)


def _row(
    task: HarnessTask,
    contender: str,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    sample: Mapping[str, Any],
) -> dict[str, Any]:
    metric = task.metric.partition(",")[0]
    score, question = sample[metric], f"{name}/{sample['doc_id']}"
    if isinstance(score, tuple | list | dict | str) or score not in (0, 1):
        raise RecipeError(
            f"evaluate.harness task {name}: {metric} of item {sample['doc_id']} is {score!r}, "
            "expected a metric that is 0 or 1 for each item"
        )
    free = not isinstance(sample["resps"][0][0], tuple | list)
    text = str(sample["resps"][0][0]) if free else _chosen(metric, sample)
    return {
        "contender": contender,
        "suite": f"harness/{task.label}",
        "family": task.axis,
        "question_id": question,
        "cluster": question,
        "relation": "",
        "exposure": 0,
        "mode": AnswerMode.FREE if free else AnswerMode.CHOICE,
        "outcome": Outcome.CORRECT if score else Outcome.WRONG,
        "completion_tokens": len(tokenizer.encode(text, add_special_tokens=False)) if free else 0,
        "prompt": str(sample["arguments"][0][0]),
        "gold": str(sample["target"]),
        "text": text,
    }


def _chosen(metric: str, sample: Mapping[str, Any]) -> str:
    """The likeliest continuation; per character for acc_norm."""
    options = [str(arguments[1]).strip() for arguments in sample["arguments"]]
    logprobs = [float(answer[0][0]) for answer in sample["resps"]]
    lengths = [max(1, len(option)) if metric == "acc_norm" else 1 for option in options]
    return options[int(np.argmax(np.array(logprobs) / lengths))]


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings about what is meant so, and rank 0: lm-eval gives its results to LOCAL_RANK 0
    only, our ranks each ask for themselves.
    """
    logger, rank = logging.getLogger("lm_eval"), os.environ.get("LOCAL_RANK")
    level = logger.level
    logger.setLevel(logging.ERROR)
    os.environ["LOCAL_RANK"] = "0"
    try:
        yield
    finally:
        logger.setLevel(level)
        if rank is None:
            del os.environ["LOCAL_RANK"]
        else:
            os.environ["LOCAL_RANK"] = rank
