"""Drops traces in a language that the detectors do not read, so that nothing is half scrubbed."""

from data_filters.filters.examined import Examined
from data_filters.filters.settings import FilterContext
from data_filters.text.language.normal import normal_text
from data_filters.text.language.tell import ENGLISH, language, languages
from recipes.schema.filter import OTHER_LANGUAGES


def other_language(one: Examined, context: FilterContext) -> str | None:
    """The first language of an assistant's message that is not read and not to be kept whole."""
    chosen = context.config.languages
    asked = ""
    for message in one.trace.messages:
        text = normal_text(message["content"]).text
        if message["role"] != "assistant":
            asked = language(text) or asked
            continue
        for code in languages(text, asked):
            if code != ENGLISH and chosen.get(code, chosen.get(OTHER_LANGUAGES)) != "keep":
                return f"the assistant writes {code}, the detectors read {ENGLISH}"
    return None
