"""An assistant's message, read once: its sentences, and what was said before it. Every detector is
a function of this.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.gazetteer import Gazetteer, load_gazetteer
from data_filters.text.curriculum import Curriculum
from data_filters.text.language.normal import normal_text
from data_filters.text.language.tell import supported
from data_filters.text.notation import Notation
from data_filters.text.prompts import PromptFacts, read_prompt
from data_filters.text.tokens import Sentence, Token, split_sentences


class Reading:
    """One message of an assistant, in normal form.

    Args:
        text: the message, reasoning and answer, as it stands.
        prompt: what was given before it. A conversation goes on and extends it, so a reading is
            used up before the next message is read.
        gazetteer: names that are known.
        message: its number in the conversation.
    """

    def __init__(
        self, text: str, prompt: PromptFacts, gazetteer: Gazetteer, message: int = 0
    ) -> None:
        self._normal = normal_text(text)
        self.original, self.text = text, self._normal.text
        self.prompt, self.gazetteer, self.message = prompt, gazetteer, message
        # what is in another language than the detectors read is left alone as a whole
        self.supported = supported(self.text, prompt.language)
        self.sentences = _in_given_forms(split_sentences(self.text), prompt)
        self.notation = Notation(self.text)
        self._found: dict[Detector, list[CandidateSpan]] = {}

    @property
    def curriculum(self) -> Curriculum:
        """The words and constants that are no facts."""
        return self.prompt.curriculum

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where a range of `text` stands in the message as it is; it holds whole letters."""
        return self._normal.origin(start, end)

    def found_by(self, detector: "Detector") -> list[CandidateSpan]:
        """What a detector finds here, for others that build on it; it looks once."""
        if detector not in self._found:
            self._found[detector] = list(detector(self))
        return self._found[detector]


def _in_given_forms(sentences: tuple[Sentence, ...], prompt: PromptFacts) -> tuple[Sentence, ...]:
    """The sentences, where a name's word that is another form of a given one has the stem of that:
    "Hungarian" in a prompt makes "Hungary" a given word.
    """
    forms = {
        token: form
        for sentence in sentences
        for token in sentence.names
        if (form := prompt.given_form(token.key)) != token.key
    }
    if not forms:
        return sentences

    def given(tokens: list[Token]) -> list[Token]:
        return [token._replace(key=forms[token]) if token in forms else token for token in tokens]

    return tuple(
        Sentence(given(s.tokens), given(s.words), given(s.names), s.numbers, s.asks, s.final)
        for s in sentences
    )


# Yields spans in any order; those without a word or number outside the curriculum are left out.
Detector = Callable[[Reading], Iterator[CandidateSpan]]

# A model that finds spans in many texts at once, one list a text. It travels to other processes, so
# it is a function of a module, or an object that can be pickled.
TextModel = Callable[[Sequence[str]], list[list[CandidateSpan]]]


def read_ahead(model: TextModel, messages: Sequence[str]) -> Detector:
    """A detector that knows what a model finds in these messages, which it is given all at once, in
    normal form.
    """
    texts = [normal_text(message).text for message in messages]
    found = dict(zip(texts, model(texts), strict=True))
    return lambda reading: iter(found[reading.text])


def read_message(
    text: str, prompt: str, curriculum: Curriculum, gazetteer: Gazetteer | None = None
) -> Reading:
    """The only message of an assistant.

    Args:
        text: reasoning and answer.
        prompt: all that was given before.
        curriculum: words and constants that are no facts.
        gazetteer: None: the places that ship with the room.
    """
    return Reading(text, read_prompt(prompt, curriculum), gazetteer or load_gazetteer())


class Reader:
    """Reads conversations; attempts at one problem stand together, so what opened the last one is
    kept.

    Args:
        curriculum: words and constants that are no facts.
        gazetteer: names that are known.
    """

    def __init__(self, curriculum: Curriculum, gazetteer: Gazetteer) -> None:
        self._curriculum, self._gazetteer = curriculum, gazetteer
        self._prompt = PromptFacts(curriculum)

    def read(self, messages: Sequence[Mapping[str, str]]) -> Iterator[Reading]:
        """A reading for each message of the assistant, in order."""
        given: list[str] = []
        prompt: PromptFacts | None = None
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                given.append(message["content"])
                continue
            if prompt is None:
                prompt = self._opened(given)
            else:
                for text in given:
                    prompt.extend(text)
            given = []
            yield Reading(message["content"], prompt, self._gazetteer, number)

    def _opened(self, given: Sequence[str]) -> PromptFacts:
        if self._prompt.messages != given:
            self._prompt = PromptFacts(self._curriculum)
            for text in given:
                self._prompt.extend(text)
        return self._prompt
