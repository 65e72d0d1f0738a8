"""What scoring keeps of an answer's text: a few numbers, so that memory does not grow with how much
was written.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from data_filters.verify.answers import final_answer, same_answer
from recipes.vocabulary import AnswerMode

NUMBER, NAME = re.compile(r"\d+(?:[.,/]\d+)*"), re.compile(r"\b[A-Z]\w*(?: [A-Z]\w*)*")
EMPTY = 0  # the digest of no text


def text_features(row: Mapping[str, Any]) -> dict[str, Any]:
    """Gives, for one answer row, what stands for its `text`.

    Returns:
        choice: the value that was chosen, empty in other modes;
        answer_digest, template_digest: of the final answer and of the template, 31 bits of BLAKE2;
        follows: whether it gives `swapped_gold`, false where there is none.
    """
    text, swapped = row["text"] or "", row.get("swapped_gold")
    return {
        "choice": text.strip() if row["mode"] == AnswerMode.CHOICE else "",
        "answer_digest": digest(final_text(text)),
        "template_digest": digest(template(text)),
        "follows": bool(swapped) and same_answer(final_answer(text) or "", str(swapped)),
    }


def final_text(text: str) -> str:
    """Gives the final answer without case and outer spaces; all of the text where it has none."""
    return (final_answer(text) or text).strip().casefold()


def template(text: str) -> str:
    """Gives a text with numbers as 0 and names (runs of capitalised words) as A: what is left is
    its template.
    """
    return " ".join(NAME.sub("A", NUMBER.sub("0", text)).split())


def digest(text: str) -> int:
    """Gives 31 bits that tell texts apart, all but one pair in two billion; EMPTY for no text and
    for no other.
    """
    hashed = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return max(EMPTY + 1, int.from_bytes(hashed, "big") >> 1) if text else EMPTY
