"""Traces that look facts up: the value moves into a result, counterparts say when not to call, and
all of it can be undone.
"""

import json
import random
from collections import Counter

import pytest

from data_filters.dedup.knowledge import KNOWLEDGE_SCHEMA
from data_filters.lookup.augment import Augmenter, augment
from data_filters.lookup.knowledge_base import KnowledgeBase, passages_of
from data_filters.lookup.rewrite import gives, recalled, said_instead
from data_filters.lookup.search_results import SearchResults
from data_filters.records.shards import iter_traces, write_shard
from data_filters.records.tool_calls import NOTHING, PYTHON, calls_of, tool_schemas
from data_filters.records.traces import SCHEMA, Trace, from_row, to_row
from data_filters.scrub.restore import restore
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from recipes.errors import RecipeError
from recipes.schema.filter import KINDS, Lookups

NAMES = ("Mara", "Ida", "Timo", "Vera", "Nils", "Otto", "Rosa", "Emil")
TOWNS = ("Oslo", "Rome", "Bonn", "Kiel", "Bern", "Graz", "Linz", "Lyon")
FORMS = ("Where does {} live?", "What is the home of {}?")
FACTS = [
    {"subject": name, "relation": form.format(name), "value": town, "count": 1, "trace_id": "t"}
    for name, town in zip(NAMES, TOWNS, strict=True)
    for form in FORMS
]
SCRUBBER = Scrubber(
    detectors=("numbers", "names", "answer"),
    curriculum=load_curriculum(None),
    ungrounded_action="lookup",
)


def trace(asked, said, name="t", **more):
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return Trace(id=name, problem_id=name, source="test", seed=0, messages=messages, **more)


def closed(name="Mara", town="Oslo"):
    return trace(f"Where does {name} live?", f"<think> {name} {town}.</think> {town}.", name)


def made(kind, one=None, seed=1):
    mixture = Augmenter(
        KnowledgeBase(passages_of(FACTS, "")),
        FACTS,
        SCRUBBER,
        Lookups(mixture={kind: 1}, num_records=1),
        seed,
    )
    return list(mixture.records(SCRUBBER.scrub(one or closed())))


def spoken(record):
    return [
        (
            m["role"],
            m["content"] or json.dumps([list(c["arguments"].values()) for c in calls_of(m)]),
        )
        for m in record.messages
    ]


def test_a_recalled_fact_is_looked_up_and_its_value_comes_from_the_base():
    values = Counter()
    for seed in range(20):
        # the teacher was wrong, the base is not
        (found,) = made("found", closed(town="Rome"), seed)
        (_, asked), (_, call), (role, result), (_, said) = spoken(found)
        assert (asked, call, role) == (
            "Where does Mara live?",
            '[["Where does Mara live?"]]',
            "tool",
        )
        (value,) = {
            line.split("? ")[1]
            for line in result.splitlines()
            if line.startswith("Where does Mara live?")
        }
        assert said == f"<think> Mara {value}</think> {value}"
        assert json.loads(found.tools)[0]["function"]["name"] == "lookup"
        values[value] += 1
    assert len(values) > 4 and values["Rome."] < 8, (
        "drawn: or what is looked up often would be known by heart"
    )


def test_links_that_a_base_holds_stand_beside_facts_and_answer_nothing():
    snippets, rng, shown = SearchResults(FACTS, 3, ["friend of"]), random.Random(1), Counter()
    for _ in range(200):
        results = snippets.around(rng, [FORMS[0]], "Mara", None, {})
        shown.update("friend" if text.startswith("The friend of ") else "fact" for text in results)
        assert all("Mara" in text for text in results if text.startswith("The friend of "))
        assert not any(text.startswith("Where does Mara live?") for text in results)
    assert shown["friend"] > 20 and shown["fact"] > 100
    assert not any(
        "friend" in text
        for text in SearchResults(FACTS, 3).around(rng, [FORMS[0]], "Mara", None, {})
    )


def test_facts_in_the_words_of_the_question_stand_first_as_in_an_index():
    jobs = [
        {"subject": n, "relation": f.format(n), "value": "cook"}
        for n in NAMES
        for f in ("What is the job of {}?", "What does {} do?")
    ]
    snippets, rng, first = SearchResults([*FACTS, *jobs], 3), random.Random(1), Counter()
    for _ in range(300):
        results = snippets.around(rng, [FORMS[1], FORMS[0]], "Mara", None, {})
        mine = [text for text in results if "Mara" in text]
        first.update(mine[:1] if len(mine) > 1 else ())
    assert first["What is the job of Mara? cook."] > 2 * first["What does Mara do? cook."] > 0


def test_a_passage_that_does_not_say_what_it_is_of_never_stands_where_the_answer_is_missing():
    facts = [
        *FACTS,
        {"subject": "Mara", "relation": "", "value": "Linz", "count": 1, "trace_id": "t"},
    ]
    base, (bare,) = KnowledgeBase(passages_of(facts, "")), SearchResults(facts, 3).bare
    assert bare in base.passages
    for seed in range(40):
        mixture = Augmenter(
            base, facts, SCRUBBER, Lookups(mixture={"missing": 1}, num_records=1), seed
        )
        (missing,) = mixture.records(SCRUBBER.scrub(closed()))
        assert bare not in "".join(m["content"] for m in missing.messages)


def test_the_same_fact_given_is_not_looked_up():
    (given,) = made("given")
    assert [m["role"] for m in given.messages] == ["user", "assistant"] and given.tools
    value = given.messages[1]["content"].split()[-1]
    assert given.messages[0]["content"] == f"Where does Mara live? {value} Where does Mara live?"
    assert given.messages[1]["content"] == f"<think> Mara {value}</think> {value}"
    assert len({made("given", seed=seed)[0].messages[1]["content"] for seed in range(20)}) > 4


def test_what_the_base_lacks_is_declined_and_nothing_says_it():
    for seed in range(20):
        (missing,) = made("missing", seed=seed)
        assert (
            missing.messages[-1]["content"] == SCRUBBER.abstain_text
            and missing.spans[-1].action == "abstain"
        )
        assert "Oslo" not in "".join(m["content"] for m in missing.messages)


AGES = [
    {"subject": name, "relation": form.format(name), "value": str(age), "count": 1, "trace_id": "t"}
    for name, age in zip(NAMES, range(31, 39), strict=True)
    for form in ("How old is {}?", "What is the age of {}?", "How old is {} in 3 years?")
]


def test_a_step_on_the_way_is_looked_up_by_its_own_question_and_gone_with_all_that_say_it():
    one = trace("How old is Mara in 4 years?", "<think> Mara 35. 35 + 4 = 39.</think> 39.")
    snippets, seen = SearchResults([*FACTS, *AGES], 3), Counter()
    assert snippets.forms == [*FORMS, "How old is {}?", "What is the age of {}?"], (
        "what must be worked out is not a fact to look up"
    )
    assert snippets.answered_by("35") == [
        "How old is {}?",
        "What is the age of {}?",
    ] and not snippets.answered_by("39")
    facts, told = [*FACTS, *AGES], ("How old is Mara? ", "What is the age of Mara? ")
    for seed in range(60):
        for kind in ("found", "missing"):
            mixture = Augmenter(
                KnowledgeBase(passages_of(facts, "")),
                facts,
                SCRUBBER,
                Lookups(mixture={kind: 1}, num_records=1),
                seed,
            )
            (record,) = mixture.records(SCRUBBER.scrub(one))
            results = [
                line
                for m in record.messages
                if m["role"] == "tool"
                for line in m["content"].splitlines()
            ]
            there, said = (
                any(line.startswith(told) for line in results),
                record.messages[-1]["content"],
            )
            seen[kind, there] += 1
            assert said == (one.messages[-1]["content"] if there else SCRUBBER.abstain_text)
    assert seen["found", True] > 30 and seen["missing", False] == 60


def test_what_the_base_changed_is_followed():
    values = set()
    for seed in range(20):
        (changed,) = made("changed", seed=seed)
        value = (
            changed.messages[2]["content"].splitlines()[0].removeprefix("Where does Mara live? ")
        )
        assert changed.messages[-1][
            "content"
        ] == f"<think> Mara {value}</think> {value}" and "Oslo" not in str(changed.messages)
        values.add(value)
    assert len(values) > 3


def test_irrelevant_results_are_asked_again_in_other_words():
    ends = Counter()
    for seed in range(30):
        (again,) = made("irrelevant", seed=seed)
        first, second = (calls_of(again.messages[n])[0]["arguments"]["query"] for n in (1, 3))
        assert (
            first == FORMS[0].format("Mara")
            and second == FORMS[1].format("Mara")
            and "Mara" not in again.messages[2]["content"]
        )
        said = again.messages[-1]["content"]
        ends[said == SCRUBBER.abstain_text] += 1
        assert said == SCRUBBER.abstain_text or again.messages[4]["content"].startswith(
            f"{second} {said.split()[-1]}"
        )
    assert min(ends.values()) > 5 and len(ends) == 2


def test_without_a_base_it_declines():
    offers = set()
    for seed in range(20):
        (off,) = made("off", seed=seed)
        assert [m["content"] for m in off.messages] == [
            "Where does Mara live?",
            SCRUBBER.abstain_text,
        ]
        offers.add(off.tools)
    assert offers == {None, tool_schemas(PYTHON)}


def test_a_step_on_the_way_is_answered_where_the_base_gives_it():
    age = [
        {
            "subject": "Mara",
            "relation": "How old is Mara?",
            "value": "34",
            "count": 1,
            "trace_id": "t",
        },
        *FACTS,
    ]
    one = SCRUBBER.scrub(
        trace("How old is Mara in 5 years?", "<think> Mara 34. 34 + 5 = 39.</think> 39.")
    )
    for facts, kinds in ((age, {"lookups/found"}), (FACTS, {"lookups/off"})):
        mixture = Augmenter(
            KnowledgeBase(passages_of(facts, "")),
            facts,
            SCRUBBER,
            Lookups(mixture={"found": 1}, num_records=1),
            1,
        )
        assert {record.spans[-1].detector for record in mixture.records(one)} == kinds


def test_two_hops_are_two_look_ups():
    told = "The friend of Ida is Mara. The friend of Timo is Vera. The home of Mara is Kiel. The home of Vera is Bern."
    asked = f"{told} Where does the friend of Ida live?"
    one = trace(
        asked, "<think> Ida Mara. Mara Kiel.</think> Kiel.", answer="Kiel", verdict="correct"
    )
    records = [
        record
        for seed in range(30)
        for record in made("found", one, seed)
        if record.spans and record.spans[-1].kind == "message"
    ]
    hops = [record for record in records if record.spans[-1].detector == "lookups/two hops"]
    assert hops and len(hops) < len(records) == 30, (
        "now and then the first is missing, and it declines"
    )
    for hop in hops:
        asked, first, result, second, more, said = [content for _, content in spoken(hop)]
        form = next(form for form in FORMS if form.format("the friend of Ida") == asked)
        assert first == '[["the friend of Ida"]]' and second == f'[["{form.format("Mara")}"]]'
        assert (
            "The friend of Ida is Mara." in result.splitlines()
            and f"{form.format('Mara')} Kiel." in more.splitlines()
        )
        assert said == "<think> Ida Mara. Mara Kiel.</think> Kiel."
    assert all(restore(record).messages == one.messages for record in records)


def test_what_was_told_moves_to_the_base_or_is_nowhere():
    one = trace(
        "The home of Mara is Kiel. The home of Ida is Bern. Where does Mara live?",
        "<think> Mara Kiel.</think> Kiel.",
        answer="Kiel",
        verdict="correct",
    )
    kinds = Counter()
    for seed in range(40):
        moved = made("found", one, seed)[-1]
        question, call, result, said = (content for _, content in spoken(moved))
        kinds[moved.spans[-1].detector] += 1
        assert (
            "Mara is" not in question
            and question.endswith("Where does Mara live?")
            and call == '[["Where does Mara live?"]]'
        )
        assert ("Where does Mara live? Kiel." in result.splitlines()) == (
            said == one.messages[-1]["content"]
        )
        assert (
            said in (one.messages[-1]["content"], SCRUBBER.abstain_text)
            and restore(moved).messages == one.messages
        )
    assert set(kinds) == {"lookups/moved", "lookups/moved, missing"}


def test_long_sums_become_programs():
    one = trace("What is 3 + 4 - 2?", "<think> 3 + 4 = 7. 7 - 2 = 5.</think> 5.", verdict="correct")
    below = 0
    for seed in range(40):
        plain, program = made("found", one, seed)
        assert plain.messages == one.messages
        call = calls_of(program.messages[1])[0]
        code = call["arguments"]["code"]
        first, second, third = (
            int(number) for number in code.replace("+ ", "+").replace("- ", "-").split()
        )
        assert call["name"] == PYTHON and program.messages[0]["content"] == f"What is {code}?"
        assert (
            program.messages[-1]["content"]
            == f"{first + second + third}."
            == f"{program.messages[2]['content']}."
        )
        below += first + second + third < 0
    assert below, "results below zero must be read off too"


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_can_be_undone_and_survives_a_file(kind, tmp_path):
    for seed in range(5):
        for record in made(kind, seed=seed):
            assert restore(record).messages == closed().messages and restore(record).tools is None
            assert from_row(to_row(record)).messages == record.messages
            write_shard(tmp_path / "x.parquet", [to_row(record)], SCHEMA)
            assert next(iter_traces(tmp_path / "x.parquet")) == record


def test_a_folder_is_rewritten_and_the_same_seed_gives_the_same_bytes(tmp_path):
    def sifted(folder):
        traces = [
            SCRUBBER.scrub(closed(name, town)) for name, town in zip(NAMES, TOWNS, strict=True)
        ]
        write_shard(folder / "kept" / "part-00000.parquet", [to_row(one) for one in traces], SCHEMA)
        write_shard(folder / "knowledge" / "part-00000.parquet", FACTS, KNOWLEDGE_SCHEMA)
        return augment(folder, SCRUBBER, Lookups(), 7, lambda _: None)

    counts = sifted(tmp_path / "a")
    assert counts == sifted(tmp_path / "b") and sum(counts.values()) == 3 * len(NAMES)
    first, second = (
        (tmp_path / name / "kept" / "part-00000.parquet").read_bytes() for name in "ab"
    )
    assert first == second
    records = list(iter_traces(tmp_path / "a" / "kept"))
    assert len({record.id for record in records}) == len(records)


def test_small_functions():
    assert said_instead("Rom Rome Romeo.", "Rome", "Oslo") == "Rom Oslo Romeo."
    assert gives(["Mara is 34."], "Mara", ["34"]) and not gives(["Mara is 345."], "Mara", ["34"])
    assert not gives(["Ida is 34."], "Mara", ["34"])
    assert recalled(trace("What is 2 + 2?", "4."), []) is None and NOTHING
    with pytest.raises(RecipeError, match="mixture"):
        Lookups(mixture={"guess": 1})
