"""Suites, grading and asking, with a contender whose answers are known."""

import dataclasses

import pytest

from data_filters.records.shards import read_shard
from data_filters.records.traces import Trace
from distill.engines.protocol import Completion
from distill.problems.planted_world import World
from distill.problems.splits import split_of
from eval.ask.ask import answer_all, ask
from eval.ask.grade import grade
from eval.stage_scores.filter_score import score_filter
from eval.suites.off_manifold import distracted_questions, off_manifold_questions
from eval.suites.questions import difficulty_of
from eval.suites.suites import all_questions, planted_questions, source_questions
from recipes.schema import Evaluate, Planted, Source
from recipes.vocabulary import Outcome


@pytest.fixture(scope="module")
def world():
    return World(Planted(people=20, teacher_only=8, strangers=8))


@pytest.fixture(scope="module")
def questions(world):
    return planted_questions(world, seed=9, items=70)


class KeyReader:
    """A contender that holds the world's key: the one that must score 1."""

    def __init__(self, questions):
        self.gold = {q.prompt: q.gold for q in questions}

    def complete(self, talks, sampling, *, prefixes=None, progress=None):
        return [
            Completion(
                text=f"<think> x.</think> {self.gold[t[-1]['content']]}.",
                prompt_tokens=5,
                completion_tokens=4,
                finish_reason="stop",
            )
            for t in talks
        ]

    def render(self, talk, prefix=""):
        return talk[-1]["content"]

    def choose_among(self, prompts, choices):
        return [
            [c.strip() for c in options].index(self.gold[p])
            for p, options in zip(prompts, choices, strict=True)
        ]


def rows(engine, questions):
    return ask(
        engine, questions, contender="x", max_new_tokens=8, system=None, progress=lambda *_: None
    )


def test_every_trained_fact_is_for_recall_or_for_probes_and_only_report_problems_are_asked(
    world, questions
):
    of = lambda suite: [q for q in questions if q.suite == suite]
    probed = planted_questions(world, seed=9, items=70, split="select")
    asked, seen = ({q.cluster for q in made if q.suite == "recall"} for made in (questions, probed))
    assert not asked & seen and len(asked | seen) == 20 * 4 and len(asked) > 3 * len(seen) > 0
    assert (
        len(of("recall_teacher_only"))
        == 2 * len({q.cluster for q in of("recall_teacher_only")})
        == 2 * 8 * 4
    )
    assert all(
        split_of(q.prompt) == "report"
        for suite in ("reasoning", "open_book", "counterfactual")
        for q in of(suite)
    )
    assert len({q.prompt for q in of("reasoning")}) == len(of("reasoning")) == 70
    assert {q.family for q in of("untold")} == {"plain", "distracted", "age_problem"}


def test_ids_are_unique(questions):
    assert len({(q.suite, q.id) for q in questions}) == len(questions)


def test_a_contender_with_the_key_is_right_everywhere(questions):
    answers = rows(KeyReader(questions), questions)
    assert {a["outcome"] for a in answers} == {"correct"}
    assert {a["mode"] for a in answers} == {"free", "note", "choice"}


def test_a_contender_with_another_key_is_wrong(questions):
    recall = [q for q in questions if q.suite == "recall"]
    liar = KeyReader([dataclasses.replace(q, gold="Nowhere") for q in recall])
    free = liar.complete([[{"role": "user", "content": q.prompt}] for q in recall], None)
    assert {grade(c.text, c.finish_reason, q.gold) for c, q in zip(free, recall, strict=True)} == {
        Outcome.WRONG
    }


@pytest.mark.parametrize(
    ("text", "finish", "outcome"),
    [
        ("<think> Mara Oslo.</think> Oslo.", "stop", "correct"),
        ("Oslo.", "stop", "correct"),
        ("<think> Mara Rome.</think> Rome.", "stop", "wrong"),
        ("I do not know.", "stop", "abstained"),
        # recall does not hide behind politeness
        ("I don't know, perhaps Oslo.", "stop", "correct"),
        ("<think> Mara Oslo Oslo Oslo", "length", "truncated"),
        ("<think> Mara", "stop", "unparsed"),
        ("", "stop", "unparsed"),
    ],
)
def test_outcomes(text, finish, outcome):
    assert grade(text, finish, "Oslo") == outcome


def test_outside_sources_come_into_the_suite_they_are_named_for():
    source = Source(name="reasoning_gym/chain_sum", options={"min_terms": 2, "max_terms": 2})
    made = all_questions(Evaluate(items=10, sources=[source]), None)
    assert (
        {q.suite for q in made} == {"reasoning"}
        and {q.family for q in made} == {"chain_sum"}
        and len(made) == 10
    )
    assert source_questions("recall", [], seed=1, items=10) == []


def test_the_key_scores_the_filter(world):
    name = world.people[0]
    fact, lie = world.facts[name, "home"], "Nowhere"
    ask_home = f"Where does {name} live?"

    def trace(source, question, answer):
        return Trace(
            id="t",
            problem_id="p",
            source=source,
            seed=0,
            messages=[
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ],
        )

    score = score_filter(
        [
            trace("planted/ask", ask_home, f"<think> {name} {fact}.</think> {fact}."),
            trace("planted/ask", ask_home, f"<think> {name} {lie}.</think> {lie}."),
            trace("planted/sums", "What is 1 + 1?", "2."),
        ],
        world,
    )
    assert score == {
        "facts": 1,
        "fact_recall": 0.0,
        "invented": 1,
        "invented_recall": 0.0,
        "told": 1,
        "over_scrub": 0.0,
    }


def test_answers_written_in_parts_are_those_of_one_go_and_go_on_where_they_stopped(
    questions, tmp_path, monkeypatch
):
    monkeypatch.setattr("eval.ask.ask.PART_QUESTIONS", 100)
    how = {"contender": "x", "max_new_tokens": 8, "system": None, "progress": lambda *_: None}
    whole = ask(KeyReader(questions), questions, **how)
    for name in ("once", "twice"):
        (tmp_path / name).mkdir()
    reader = KeyReader(questions)
    plain, calls = reader.complete, []

    def breaks(*given, **more):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return plain(*given, **more)

    reader.complete = breaks
    with pytest.raises(KeyboardInterrupt):
        answer_all(reader, questions, tmp_path / "twice", seed=1, **how)
    left = len(list((tmp_path / "twice").glob("part-*.parquet")))
    assert 0 < left < len(questions) // 100
    assert answer_all(reader, questions, tmp_path / "twice", seed=1, **how) == len(whole)
    answer_all(KeyReader(questions), questions, tmp_path / "once", seed=1, **how)
    assert (tmp_path / "once" / "answers.parquet").read_bytes() == (
        tmp_path / "twice" / "answers.parquet"
    ).read_bytes()
    assert [p.name for p in (tmp_path / "twice").iterdir()] == ["answers.parquet"]
    key = lambda row: (row["question_id"], row["mode"], row["outcome"], row["text"])
    assert sorted(map(key, read_shard(tmp_path / "once" / "answers.parquet"))) == sorted(
        map(key, whole)
    )


def test_unseen_problems_have_the_answers_of_their_rules(world):
    made = off_manifold_questions(world, 1, 60)
    for q in made:
        if q.family == "longer":
            assert 6 <= len(q.prompt.split()) // 2 <= 8
            total = eval_chain(q.prompt.removeprefix("What is ").rstrip("?").split())
        elif q.family == "operator":
            said = q.prompt.partition("What is ")[2].rstrip("?")
            total = eval_chain(said.replace("@", "+").replace("#", "-").split())
        else:
            old, new = q.prompt[12], q.prompt.partition(" becomes ")[2][0]
            row = q.prompt.partition("rule to ")[2].rstrip(".").split()
            assert old in row
            total = " ".join(new if letter == old else letter for letter in row)
        assert str(total) == q.gold
    distracted = distracted_questions(world, 1, 50)
    assert {q.distractors for q in distracted} == {0, 1, 2, 4, 8}
    assert all(
        q.prompt.count(" of ") >= q.distractors + 1 and f" is {q.gold}." in q.prompt
        for q in distracted
    )


def eval_chain(words):
    total = int(words[0])
    for sign, number in zip(words[1::2], words[2::2], strict=True):
        total += int(number) if sign == "+" else -int(number)
    return total


def test_difficulty_counts_steps():
    assert [
        difficulty_of(f, p)
        for f, p in (
            ("sums", "What is 9 - 3 + 8?"),
            ("story", "A has 3 coins. A finds 2 more. A loses 1. How many coins does A have now?"),
            ("sort", "Sort 3 1 2."),
            ("reverse", "Reverse a b."),
            ("follow", "The queue is A B C D. Continue from B."),
            ("hop", "x"),
        )
    ] == [2, 2, 3, 2, 4, None]


def test_a_cap_cuts_longer_answers_off(questions):
    asked = [q for q in questions if q.suite == "reasoning"][:6]
    how = {"contender": "x", "max_new_tokens": 8, "system": None, "progress": lambda *_: None}
    found = ask(KeyReader(questions), asked, budgets=(3, 4), **how)  # the reader writes four tokens
    of = lambda cap: {row["outcome"] for row in found if row.get("budget", 0) == cap}
    assert (of(0), of(3), of(4)) == ({"correct"}, {"truncated"}, {"correct"}) and len(found) == 18
