"""The filter benchmarks on a handful of traces."""

import pytest

from benchmarks.filter_speed import made, measure, opened, stream
from benchmarks.probes import auroc


def test_texts_are_fixed_and_differ():
    once, again = list(made(5, seed=1)), list(made(5, seed=1))
    assert once == again and len({trace.messages[1]["content"] for trace in once}) == 5
    assert all(trace.messages[1]["content"].count("<think>") == 1 for trace in once)
    assert any(
        span.grounding == "ungrounded"
        for trace in opened("ours_no_ner")(once)
        for span in trace.spans
    )


def test_the_area_under_the_curve_by_hand():
    assert (
        auroc([3.0, 4.0], [1.0, 2.0]) == 1.0
        and auroc([1.0], [2.0]) == 0.0
        and auroc([1.0], []) is None
    )
    assert auroc([1.0, 3.0], [1.0, 2.0]) == pytest.approx((0.5 + 0 + 1 + 1) / 4)


def test_speeds_and_memory_are_measured():
    found = measure("ours_no_ner", 10, 1)
    assert (
        found["stack"] == "ours_no_ner"
        and found["words_per_second"] > 0
        and found["peak_rss_mb"] > 0
    )
    streamed = stream(5000)
    assert streamed["text_bytes"] >= 5000 and streamed["kept"] > 0 and streamed["peak_rss_mb"] > 0
