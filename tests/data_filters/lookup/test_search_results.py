"""Results that are drawn: whether the answer stands there can be told by the answer alone, never by
what stands beside it.
"""

import random
from collections import Counter

from data_filters.lookup.search_results import SearchResults

NAMES = ("Mara", "Ida", "Timo", "Vera", "Nils", "Otto")
TOWNS = ("Oslo", "Rome", "Bonn", "Kiel", "Bern", "Graz")
JOBS = ("cook", "clerk", "smith", "nurse", "baker", "guard")
ASKED = ("Where does {} live?", "What is the home of {}?")
FACTS = [
    {"subject": name, "relation": form.format(name), "value": value}
    for name, town, job in zip(NAMES, TOWNS, JOBS, strict=True)
    for form, value in (
        *((form, town) for form in ASKED),
        ("What does {} do?", job),
        ("What is the job of {}?", job),
    )
]
DRAWS = 4000


def drawn(results_of):
    """Shares of the sets of other lines, told by whom they are about, in results of three at
    least.
    """
    kinds = Counter()
    for seed in range(DRAWS):
        others = [text for text in results_of(random.Random(seed)) if not text.endswith("Lyon.")]
        kinds[
            "Mara" if any("Mara" in text for text in others) else "others" if others else "none"
        ] += 1
    return {kind: count / DRAWS for kind, count in kinds.items()}


def test_forms_that_ask_for_the_same_are_known_by_their_values():
    snippets = SearchResults(FACTS, 3)
    assert snippets.kin(ASKED[0]) == [ASKED[1]] and snippets.kin("What does {} do?") == [
        "What is the job of {}?"
    ]
    assert snippets.answered_by("Oslo") == list(ASKED) and snippets.answered_by("Paris") == []


def test_a_fact_that_is_missing_is_in_no_form_among_the_results():
    snippets = SearchResults(FACTS, 3)
    for seed in range(500):
        results = snippets.around(random.Random(seed), ASKED, "Mara", None, {})
        assert len(results) <= 3 and not any(
            form.format("Mara") in text for text in results for form in ASKED
        )


def test_an_answer_is_first_or_second_and_the_others_are_of_the_subject_or_of_others():
    snippets = SearchResults(FACTS, 3)
    for seed in range(500):
        results = snippets.around(random.Random(seed), ASKED, "Mara", "Lyon", {"Ida": "Rome"})
        assert "Where does Mara live? Lyon." in results[:2]
        assert all(
            "Mara" in text or text.startswith("Where does") or text.startswith("What is the home")
            for text in results
        )


def test_lines_about_the_subject_stand_beside_an_answer_as_often_as_in_its_place():
    snippets = SearchResults(FACTS, 3)
    beside = drawn(lambda rng: snippets.around(rng, ASKED[:1], "Mara", "Lyon", {}))
    instead = drawn(
        lambda rng: snippets.around(rng, ASKED[:1], "Mara", None, {}) or ["nothing about Mara"]
    )
    assert (
        abs(beside["Mara"] - instead["Mara"]) < 0.15
        and min(beside["others"], instead["others"]) > 0.1
    )


def test_first_of_two_hops_is_told_by_its_own_line_alone():
    """One line fewer is left where the answer takes one of three places."""
    snippets, links = SearchResults(FACTS, 3), {"Mara": "Lyon", "Ida": "Mara", "Timo": "Vera"}
    for lost in (False, True):
        seen = [
            snippets.linked(random.Random(seed), "friend of", "Mara", links, lost)
            for seed in range(1000)
        ]
        assert all(("The friend of Mara is Lyon." in results[:2]) is not lost for results in seen)
        backwards = sum("The friend of Ida is Mara." in results[:2] for results in seen) / len(seen)
        facts = sum(
            any("Mara" in text for text in results if "friend" not in text) for results in seen
        ) / len(seen)
        assert 0.75 < backwards < 0.85 and 0.2 < facts < 0.8
