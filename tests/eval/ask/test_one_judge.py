"""What generate calls right is what the scorecard and the filter call right."""

import json
import re
from pathlib import Path

import pytest

from data_filters.filters.settings import FilterContext, FilterSettings
from data_filters.passes.examine import examine
from data_filters.records.traces import Trace, from_row, to_row
from data_filters.verify.verifiers import Verifiers
from distill.problems.draw import draw_problems
from eval.ask.grade import Answered, grade, grade_all
from eval.suites.suites import source_questions
from recipes.schema import Source
from recipes.vocabulary import Split


def swapped(gold: str) -> str:
    return ", and ".join(reversed(re.split(r", and | and ", gold.rstrip("."))))


FAMILIES = {
    "knights_knaves": swapped,
    "countdown": lambda gold: f"({gold})",
    "spiral_matrix": str,
    "rotate_matrix": lambda gold: f"\n{gold}",
    "fraction_simplification": str,
    "chain_sum": lambda gold: gold.replace("-", "\u2212"),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_puzzles_are_judged_alike_in_three_places(family: str) -> None:
    options = {"n_people": 2} if family == "knights_knaves" else {}
    source = Source(name=f"reasoning_gym/{family}", options=options)
    problems = draw_problems([source], None, seed=3, start=0, count=4, split=Split.TRAINING)
    said = [f"The answer is {FAMILIES[family](str(p.gold))}" for p in problems]
    said[-1] = "The answer is no."
    with Verifiers(timeout_seconds=30.0) as verifiers:
        checks = [problem.check() for problem in problems]
        generate = verifiers.judge(list(zip(said, checks, strict=True)))
        card = grade_all(
            [Answered(s, "stop", c) for s, c in zip(said, checks, strict=True)], verifiers
        )
        traces = [
            Trace(
                id=str(n),
                problem_id=str(n),
                source="x",
                seed=0,
                messages=[
                    {"role": "user", "content": problem.prompt},
                    {"role": "assistant", "content": text},
                ],
                gold=problem.gold,
                check=problem.check().note(),
            )
            for n, (problem, text) in enumerate(zip(problems, said, strict=True))
        ]
        stored = [from_row(json.loads(json.dumps(to_row(trace)))) for trace in traces]
        sifted = examine(stored, FilterContext(FilterSettings()), verifiers)
    verdicts = [str(one.verdict) for one in generate]
    assert verdicts == ["correct"] * 3 + ["wrong"]
    assert [str(outcome) for outcome in card] == verdicts
    assert [str(one.trace.verdict) for one, _ in sifted] == verdicts
    assert all(one.trace.check is None and one.trace.gold is None for one, _ in sifted)


def test_questions_keep_their_verifier(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        {"q": "Factor it.", "a": "(x-1)(x+2)", "t": None},
        {"q": "Write f.", "a": None, "t": ["assert f(2) == 3"]},
        {"q": "Say something.", "a": None, "t": None},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Source(name="mine", path=str(path), question="q", answer="a", tests="t")
    questions = source_questions("reasoning", [source], seed=1, items=3)
    assert [question.judged_by().kind for question in questions] == ["math", "program"]
    texts = ("\\boxed{(x+2)(x-1)}", "```python\ndef f(x):\n    return x + 1\n```")
    with Verifiers(timeout_seconds=30.0) as verifiers:
        answers = [
            Answered(t, "stop", q.judged_by()) for t, q in zip(texts, questions, strict=True)
        ]
        assert [str(o) for o in grade_all(answers, verifiers)] == ["correct", "correct"]
        hello = Answered("```python\nprint('hello')\n```", "stop", questions[1].judged_by())
        assert grade_all([hello], verifiers) == ["wrong"]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("The unknown number is 5.", "wrong"),
        ("The unknown number is 8.", "correct"),
        ("That number is unknown.", "abstained"),
        ("Unknown.", "abstained"),
        ("I do not know.", "abstained"),
        ("I can't determine it.", "abstained"),
        ("It cannot be determined.", "abstained"),
        ("I am not sure, but 8.", "correct"),
        ("<think>8", "unparsed"),
    ],
)
def test_what_declines_and_what_does_not(text: str, outcome: str) -> None:
    assert grade(text, "stop", "8") == outcome
