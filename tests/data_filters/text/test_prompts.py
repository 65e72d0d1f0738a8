"""A prompt that a conversation extends says the same as one that is read at once."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from data_filters.detect import detect as detect_module
from data_filters.detect.detect import DETECTORS, detect
from data_filters.detect.gazetteer import load_gazetteer
from data_filters.detect.reading import Reader, read_message
from data_filters.text.curriculum import load_curriculum
from data_filters.text.prompts import PromptFacts, read_prompt

CURRICULUM = load_curriculum()
MESSAGES = st.lists(
    st.lists(
        st.sampled_from(
            "Apples are red.~Mara has 3 apples.~She finds 4 more.~Where is Mara?~apples~He is 34."
            "~The home of Ida is Rome.~20%~Compute 3 + 4.~It is.~Answer: Red.".split("~")
        ),
        max_size=4,
    ).map(" ".join),
    min_size=1,
    max_size=6,
)
SUBJECTS = ("mara", "ida", "apple", "rome", "red", "answer")


def said(facts: PromptFacts) -> list[object]:
    statements = facts.statements
    one = [frozenset((subject,)) for subject in SUBJECTS]
    return [
        set(facts.words),
        set(facts.numbers),
        facts.question,
        (facts.seeks, facts.works_out, facts.asks_about_unknown),
        [facts.names(subject) for subject in SUBJECTS],
        [statements.numbers_about(subject) for subject in one],
        [statements.binds(a, b, frozenset()) for a in one for b in one],
        [statements.links(a, b) for a in one for b in one],
        facts.summands({3, 4, 34}),
        facts.reachable,
    ]


@given(MESSAGES)
def test_messages_one_by_one_say_what_they_say_together(messages: list[str]) -> None:
    facts = PromptFacts(CURRICULUM)
    for message in messages:
        facts.extend(message)
    assert said(facts) == said(read_prompt("\n".join(messages), CURRICULUM))


def test_a_word_in_lower_case_takes_a_name_from_an_earlier_message() -> None:
    facts = read_prompt("Quills are 12 long. They are old.", CURRICULUM)
    assert facts.names("quill") and facts.statements.num_general == 0
    facts.extend("She bought quills.")
    assert not facts.names("quill") and facts.statements.num_general == 1


def test_each_message_is_read_once_and_sees_only_what_came_before() -> None:
    talk = [
        {"role": role, "content": content}
        for role, content in (
            ("user", "Where does Mara live?"),
            ("assistant", "In Oslo."),
            ("tool", "Oslo"),
            ("user", "And Ida?"),
            ("assistant", "In Rome."),
        )
    ]
    reader = Reader(CURRICULUM, load_gazetteer())
    seen = [(one.message, one.text, list(one.prompt.messages)) for one in reader.read(talk)]
    assert seen == [
        (1, "In Oslo.", ["Where does Mara live?"]),
        (4, "In Rome.", ["Where does Mara live?", "Oslo", "And Ida?"]),
    ]


def test_the_page_on_adding_a_detector_is_true(monkeypatch) -> None:
    page = Path("docs/add_a_detector.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(re.sub(r"^   ", "", code[1], flags=re.MULTILINE), names)
    monkeypatch.setattr(detect_module, "DETECTORS", (("", names["find_dois"]), *DETECTORS))
    text = "It is in 10.1000/182 and Oslo."
    found = detect(read_message(text, "Where is it?", CURRICULUM), ("numbers", "names"))
    assert [(text[one.start : one.end], one.detector) for one in found] == [
        ("10.1000/182", "dois"),
        ("Oslo", "names"),
    ]
