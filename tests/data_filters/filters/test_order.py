"""The order of the filters, and the settings that travel to every process."""

import json
from dataclasses import replace

import pytest

from data_filters.dedup.skeletons import skeleton
from data_filters.filters.examined import Examined, Reason
from data_filters.filters.order import FILTERS, ORDER, REPEATS, Known, first_reason
from data_filters.filters.settings import FilterContext, FilterSettings
from data_filters.records.traces import Trace
from recipes.errors import ShardError
from recipes.schema.filter import Filter, Lookups, Probes
from recipes.vocabulary import Action, Verdict

TRACE = Trace(
    id="t",
    problem_id="p",
    source="s",
    seed=0,
    messages=[
        {"role": "user", "content": "What is 3 + 5?"},
        {"role": "assistant", "content": "8."},
    ],
)


def test_filters_stand_in_the_order_of_what_they_need() -> None:
    needs = [one.needs for one in FILTERS]
    assert needs == sorted(needs) and len(set(ORDER)) == len(ORDER)
    assert ORDER[0] == "read" and ORDER[-1] == "scrub"
    assert [one.name for one in REPEATS] == [name for name in ORDER if name in named_repeats()]


def named_repeats() -> set[str]:
    return {"duplicates", "near_duplicates", "skeleton", "exposure"}


def test_the_first_filter_that_fires_is_named() -> None:
    settings = FilterSettings(
        config=Filter(decontaminate_words=3, probes=Probes(premise="drop")),
        held_out=("what is 3 + 5",),
    )
    one = Examined(TRACE, recall={"premise": True}, repeats={"exposure": "other"})
    found = []
    for skip in ((), ("overlap",), ("overlap", "probes")):
        context = FilterContext(replace(settings, skip=skip))
        found.append(first_reason(one, context, Known.CORPUS))
    assert [reason.by for reason in found if reason] == ["overlap", "probes", "exposure"]
    assert found[0] == Reason("overlap", "stands in a held-out problem: what is 3")
    known = Examined(TRACE, reason=Reason("shape", "empty"))
    assert first_reason(known, FilterContext(settings), Known.CORPUS) == known.reason


def test_a_skipped_filter_still_drops_what_has_no_reply() -> None:
    context = FilterContext(FilterSettings(skip=("shape", "verify")))
    wrong = Examined(replace(TRACE, verdict=Verdict.WRONG))
    assert first_reason(wrong, context, Known.VERDICT) is None
    silent = Examined(replace(TRACE, messages=TRACE.messages[:1]))
    assert first_reason(silent, context, Known.TEXT) == Reason("shape", "no assistant message")


@pytest.mark.parametrize("mode", ["balanced", "strict"])
def test_strict_drops_what_is_unjudged_recalled_or_ungrounded(mode: str) -> None:
    config = Filter(mode=mode, probes=Probes(premise="report"))
    context = FilterContext(FilterSettings(config=config))
    one = Examined(TRACE, recall={"premise": True}, question=skeleton("", context.knows))
    strict = mode == "strict"
    assert (first_reason(one, context, Known.VERDICT) is not None) == strict
    assert (first_reason(one, context, Known.CORPUS) is not None) == strict
    assert (context.scrubber.ungrounded_action == Action.DROP) == strict


def test_settings_come_back_from_json_as_they_were() -> None:
    settings = FilterSettings(
        config=Filter(
            ungrounded_action=Action.MASK,
            ungrounded_actions_by_kind={"date": Action.GENERALISE},
            lookups=Lookups(num_records=2, links=["friend of"]),
            probes=Probes(rename="drop"),
            solve_rate=[0.1, 0.9],
        ),
        seed=3,
        held_out=("half \ud83d", "What?"),
        skip=("verify",),
    )
    again = FilterSettings.from_json(json.loads(json.dumps(settings.to_json())))
    assert again == settings and again.digest() == settings.digest()
    assert isinstance(again.config.ungrounded_action, Action)


def test_a_word_list_that_is_not_there_is_one_line() -> None:
    for config in (Filter(curriculum_file="absent.txt"), Filter(gazetteer=["absent.txt"])):
        with pytest.raises(ShardError, match=r"absent.txt: .*cannot be read"):
            FilterSettings(config=config).digest()
