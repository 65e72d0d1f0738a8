"""Near duplicates, caps and exposures: keys that merge."""

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_filters.dedup.duplicates import (
    Keys,
    alike_keys,
    find_repeats,
    fingerprint,
    ids_of,
    near_keys,
)
from data_filters.dedup.exposure import ExposureLedger, facts_of, merge_exposure
from data_filters.dedup.minhash import BANDS, ROWS, SHINGLE_WORDS, band_keys
from data_filters.dedup.skeletons import fill, skeleton
from data_filters.filters.settings import FilterSettings
from data_filters.records.rows import list_shards
from data_filters.records.shards import iter_traces, read_shard
from data_filters.records.traces import Span, Trace
from data_filters.sift import sift
from data_filters.text.curriculum import load_curriculum
from data_filters.text.stem import stem
from recipes.schema.filter import Filter

CURRICULUM = load_curriculum()


def settings(**config: object) -> FilterSettings:
    return FilterSettings(config=Filter(**config))


def knows(word: str) -> bool:
    return CURRICULUM.knows(stem(word))


def trace(name: str, question: str, text: str, problem: str = "", **more: object) -> Trace:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    return Trace(id=name, problem_id=problem or name, source="x", seed=1, messages=messages, **more)


def test_a_skeleton_blanks_names_and_numbers_and_keeps_who_is_who() -> None:
    found = skeleton(
        "The home of Mara is New Oslo. Where does Mara's aunt live at 10:15, or is it 3 + 5?", knows
    )
    assert (
        " ".join(found.words)
        == "the home of @1 is new @2 where does @1 aunt live at # or is it # + #"
    )
    assert found.values == ("Mara", "Oslo", "10:15", "3", "5")
    assert fill("Mara's Maral and Mara.", {"Mara": "Ida"}) == "Ida's Maral and Ida."


def similar(rng: random.Random, jaccard: float) -> tuple[list[str], list[str]]:
    """Two lists of 300 words; the second has so many words replaced, at even distances, that its
    triples overlap as wanted.
    """
    words = [f"w{rng.randrange(10**6)}" for _ in range(300)]
    shared = 2 * jaccard / (1 + jaccard)  # of the triples of each
    changed = round((1 - shared) * (300 - SHINGLE_WORDS + 1) / SHINGLE_WORDS)
    other = list(words)
    for number in range(changed):
        other[int((number + 0.5) * 300 / changed)] = f"v{rng.randrange(10**6)}"
    return words, other


@pytest.mark.parametrize("jaccard", [0.6, 0.8, 0.95])
def test_bands_find_near_duplicates_as_often_as_the_theory_says(jaccard: float) -> None:
    rng = random.Random(3)
    hits = sum(
        bool((band_keys(one) == band_keys(other)).any())
        for one, other in (similar(rng, jaccard) for _ in range(300))
    )
    expected = 1 - (1 - jaccard**ROWS) ** BANDS
    assert abs(hits / 300 - expected) < 4 * (expected * (1 - expected) / 300) ** 0.5 + 0.03
    assert (
        sum(
            bool((band_keys(similar(rng, 0.8)[0]) == band_keys(similar(rng, 0.8)[1])).any())
            for _ in range(100)
        )
        == 0
    )


LONG = (
    "In the village of Elm a baker called Mara sells bread to {} families every morning and each family buys {} loaves; "
    "how many loaves are sold {}?"
)


def test_nearly_the_same_question_of_the_same_values_goes_and_templates_stay(
    tmp_path: Path,
) -> None:
    traces = [
        trace("a", LONG.format(12, 3, "in all"), "36.", gold="36"),
        trace("near", LONG.format(12, 3, "altogether"), "36.", gold="36"),
        trace("values", LONG.format(12, 4, "in all"), "48.", gold="48"),
        trace("answer", LONG.format(12, 3, "in an hour"), "5.", gold="5"),
        trace(
            "try",
            LONG.format(12, 3, "in all"),
            "<think> 12 * 3 = 36.</think> 36.",
            problem="a",
            gold="36",
        ),
        trace("tin", "What kind of word is tin?", "metal."),
        trace("copper", "What kind of word is copper?", "metal."),
        trace("shout", "WHAT kind of word is copper??", "metal."),
    ]
    report = sift(traces, tmp_path / "near", settings())
    rows = [row for path in list_shards(tmp_path / "near/dropped") for row in read_shard(path)]
    assert [(row["id"], row["reason"]) for row in rows] == [
        ("near", "asks nearly the same of the same values: a"),
        ("shout", "asks nearly the same of the same values: copper"),
    ]
    assert report["dropped"]["near_duplicates"] == {"asks nearly the same of the same values": 2}
    report = sift(
        traces, tmp_path / "cap", settings(drop_near_duplicates=False, max_per_skeleton=2)
    )
    assert [t.id for t in iter_traces(tmp_path / "cap/kept")] == ["a", "near", "tin", "copper"]


def keys(numbers: list[int], owners: list[int]) -> Keys:
    found = {"same": [(row, np.array([n], np.uint64)) for row, n in enumerate(numbers)]}
    return Keys.gather([f"id{n}" for n in range(len(numbers))], owners, found)


@pytest.mark.parametrize("at_once", [10**6, 7])
def test_merging_in_parts_finds_what_a_list_finds(tmp_path: Path, at_once: int) -> None:
    rng = random.Random(1)
    units = [[rng.randrange(40) for _ in range(30)] for _ in range(5)]
    owners = [[rng.randrange(3) for _ in unit] for unit in units]
    paths = [tmp_path / f"{number}.npz" for number in range(5)]
    for path, numbers, owner in zip(paths, units, owners, strict=True):
        keys(numbers, owner).save(path)
    for most in (1, 3):
        dropped = [np.zeros(30, bool) for _ in paths]
        dropped[0][0] = True  # counts no more
        places, firsts = find_repeats(paths, "same", most, dropped, at_once=at_once)
        found = {
            (place >> 32, place & 0xFFFFFFFF): first
            for place, first in zip(places.tolist(), firsts.tolist(), strict=True)
        }
        assert ids_of(paths, firsts) == [f"id{first & 0xFFFFFFFF}" for first in firsts.tolist()]
        first_of: dict[int, int] = {}
        seen: Counter[int] = Counter()
        for unit, numbers in enumerate(units):
            for row, number in enumerate(numbers):
                if (unit, row) == (0, 0):
                    continue
                first = first_of.setdefault(number, unit << 32 | row)
                assert found.get((unit, row)) == (first if seen[number] >= most else None)
                seen[number] += 1
        assert all(dropped[unit][row] for unit, row in found)


def test_fingerprints_tell_roles_and_texts_apart() -> None:
    one = trace("a", "What?", "So.")
    assert (
        fingerprint(one)
        == fingerprint(replace(one, id="b"))
        != fingerprint(trace("a", "What?So.", ""))
    )
    asked = skeleton(one.asked(), knows)
    assert not (near_keys(asked, "") == near_keys(asked, "else")).any()
    assert (near_keys(asked, "Else") == near_keys(asked, "else")).all()
    assert not len(alike_keys(skeleton("", knows))) and not len(near_keys(skeleton("", knows), ""))


# --- exposures


def fact(
    subject: str,
    value: str,
    grounding: str = "ungrounded",
    relation: str = "Where?",
    kind: str = "name",
) -> Span:
    return Span(
        message=1,
        start=0,
        end=1,
        kind=kind,
        grounding=grounding,
        original=value,
        subject=subject,
        relation=relation,
    )


def test_facts_have_a_subject_and_are_no_results() -> None:
    spans = [
        fact("Mara", "Oslo", "given"),
        fact("Mara", "Oslo"),
        fact("", "Rome"),
        fact("Ida", "Ida"),
        fact("Bo", "9", kind="result"),
    ]
    assert facts_of(spans) == {("Mara", "Oslo", "Where?"): False}


def test_ledgers_merge_to_exact_counts_whatever_their_number(tmp_path: Path) -> None:
    rng, paths = random.Random(2), []
    whole: Counter[tuple[str, str, str]] = Counter()
    for number in range(130):  # more than are merged at once
        ledger = ExposureLedger()
        for _ in range(6):
            one = (f"s{rng.randrange(9)}", f"v{rng.randrange(2)}", rng.choice(("Where?", "Who?")))
            whole[one] += 1
            ledger.add([one, one], [one] if one[1] == "v0" else [])
        paths.append(tmp_path / f"{number}.jsonl")
        ledger.save(paths[-1])
    summary = merge_exposure(paths, tmp_path / "out", epochs=2.0)
    rows = [row for path in list_shards(tmp_path / "out") for row in read_shard(path)]
    assert {(r["subject"], r["value"], r["relation"]): r["stated"] for r in rows} == whole
    assert all(
        r["left"] == (r["stated"] if r["value"] == "v0" else 0) and r["seen"] == 2.0 * r["left"]
        for r in rows
    )
    pairs = Counter()
    for (subject, value, _), count in whole.items():
        pairs[subject, value] += count
    assert summary["facts"] == {
        "stated": len(pairs),
        "left": sum(value == "v0" for _, value in pairs),
    }
    assert sum(summary["seen"]["left"].values()) == summary["facts"]["left"]
    assert summary["highest"][0]["seen"] == 2.0 * max(
        count for (_, value), count in pairs.items() if value == "v0"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00000.parquet"]


def test_the_cap_counts_a_fact_over_wordings_and_epochs(tmp_path: Path) -> None:
    told = "The home of Mara is Oslo. It is day {}. "
    traces = [
        trace(f"t{n}", told.format(n) + q, "<think> Mara Oslo.</think> Oslo.")
        for n, q in enumerate(("Where does Mara live?", "Where is Mara living?") * 3)
    ]
    traces.append(
        trace(
            "other",
            "The home of Ida is Rome. Where does Ida live?",
            "<think> Ida Rome.</think> Rome.",
        )
    )
    report = sift(traces, tmp_path, settings(exposure_cap=8, epochs=2.0))
    assert [t.id for t in iter_traces(tmp_path / "kept")] == ["t0", "t1", "t2", "t3", "other"]
    assert report["dropped"] == {"exposure": {"states a fact that is seen often enough": 2}}
    assert report["exposure"]["highest"][0] == {"subject": "Mara", "value": "Oslo", "seen": 8.0}
    assert json.loads((tmp_path / "report.json").read_text())["exposure"]["cap"] == 8
