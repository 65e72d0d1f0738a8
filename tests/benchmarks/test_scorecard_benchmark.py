"""The coverage table in small, with bounds of its own noise."""

import numpy as np
import pytest

from benchmarks.scorecard import (
    EDGE,
    confidences,
    contenders,
    coverage,
    differences,
    measured,
    powers,
    single,
)

REPETITIONS = 400  # a coverage of 95 % then has a standard error of 1.1 points


@pytest.mark.parametrize("group", [single, differences, confidences])
def test_each_kind_of_interval_covers_about_what_it_says(group):
    rows = [row for kind in group(200) for row in coverage(kind, 200, REPETITIONS, seed=2)]
    assert {
        row["interval"]: row["covered"]
        for row in rows
        if not 0.91 <= row["covered"] <= 0.985 and EDGE not in row["interval"]
    } == {}
    assert all(row["absent"] == 0 and row["width"] > 0 for row in rows)


def test_pairing_sees_at_least_eight_tenths_more():
    found = powers(500, 400, seed=3)
    assert found["paired_power"] >= 1.8 * found["unpaired_power"]


def test_contenders_have_their_rates_and_share_the_difficulty():
    right = contenders(np.random.default_rng(4), 60_000, 0.65, 0.6)
    assert right.mean(axis=1) == pytest.approx([0.65, 0.6], abs=0.01)
    assert np.corrcoef(right)[0, 1] > 0.4
    clustered = contenders(np.random.default_rng(5), 60_000, 0.5, phrasings=3)[0].reshape(-1, 3)
    assert np.corrcoef(clustered.T)[0, 1] > 0.4


def test_the_last_line_has_what_was_promised():
    found = measured(100, 20, 1, only="unpaired")
    assert {"coverage_95", "paired_power", "unpaired_power", "seconds", "items"} <= set(found)
    assert found["coverage_95"] == found["rows"][0]["covered"]
    assert (found["items"], [row["interval"] for row in found["rows"]]) == (
        100,
        ["unpaired bootstrap"],
    )
