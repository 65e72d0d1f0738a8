"""The report in a real browser without a network: it fits at both widths, in light and dark, and
nothing that a model wrote runs.
"""

import json

import pytest

from eval.report.html import to_html
from tests.eval.report.cards import full_card, full_samples, sample

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ATTACKS = (
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    '"><svg onload="window.ran = 1">',
    "</style></title></textarea><iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
    "javascript:window.ran=1",
)
LONG = "Pneumonoultramicroscopicsilicovolcanoconiosis" * 6


@pytest.fixture
def look_all():
    from benchmarks.page import look_all  # needs PySide6, which other environments lack

    return look_all


def written(tmp_path, text):
    (tmp_path / "report.html").write_text(text)
    return tmp_path / "report.html"


def test_the_page_fits_at_both_widths_in_light_and_dark(tmp_path, look_all):
    from benchmarks.page import faults

    found = look_all(written(tmp_path, to_html(full_card(), full_samples())), tmp_path / "pictures")
    assert {name: faults(each) for name, each in found.items()} == {name: [] for name in found}
    assert {name: (each["inner"], each["dark"]) for name, each in found.items()} == {
        "1280 light": (1280, False),
        "390 light": (390, False),
        "1280 dark": (1280, True),
        "390 dark": (390, True),
    }
    assert (tmp_path / "pictures" / "report-390-dark-1.png").stat().st_size > 10_000


def test_nothing_runs_and_nothing_sticks_out_whatever_is_written(tmp_path, look_all):
    card = full_card()
    card["recipe"] = LONG + "".join(ATTACKS)
    renamed = {"base": "an_arm_with_a_very_long_name_" + LONG, "control": ATTACKS[1]}
    for old, new in renamed.items():
        card = json.loads(json.dumps(card).replace(json.dumps(old), json.dumps(new)))
    card["gates"][0]["text"] = LONG + ATTACKS[0]
    texts = [*ATTACKS, LONG, "".join(ATTACKS), "line\n" * 40]
    samples = [
        sample(
            question_id=str(n), contender=name, text=text, gold=text, prompt=text, suite=ATTACKS[0]
        )
        for n, text in enumerate(texts)
        for name in card["contenders"]
    ]
    for name, found in look_all(written(tmp_path, to_html(card, samples))).items():
        assert found["ran"] is None, name
        assert found["refused"] == [], name
        assert found["wide"] == [] and found["scroll"] == found["inner"], name


def test_the_check_itself_sees_what_runs_is_fetched_and_sticks_out(tmp_path, look_all):
    page = (
        "<html><body><div style='width: 2000px'>wide</div>"
        + ATTACKS[1]
        + "<img src='http://127.0.0.1:9/x.png'></body></html>"
    )
    for found in look_all(written(tmp_path, page)).values():
        assert found["ran"] == 1
        assert "http://127.0.0.1:9/x.png" in found["refused"]
        assert found["scroll"] >= 2000 and found["wide"]
