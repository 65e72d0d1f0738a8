"""The split that keeps training and evaluation apart: by the hash of a prompt, for good."""

import hashlib

from recipes.vocabulary import Split

SPLITS = (Split.TRAINING,) * 16 + (Split.SELECT,) + (Split.REPORT,) * 3


def digest_of(text: str) -> int:
    """A 64-bit number that names a text, whatever its case and spacing."""
    plain = " ".join(text.split()).lower()
    return int.from_bytes(hashlib.sha256(plain.encode()).digest()[:8])


def split_of(prompt: str) -> str:
    """training (80 %), select (5 %) or report (15 %).

    Problem spaces are small and collide across seeds, so different seeds alone do not keep two sets
    apart.
    """
    return SPLITS[digest_of(prompt) % len(SPLITS)]


def fact_split(subject: str, relation: str) -> str:
    """select (20 %) or report (80 %): facts that probes and searches may look at, and facts that
    the scorecard asks about.
    """
    return Split.SELECT if digest_of(f"{subject} / {relation}") % 5 == 0 else Split.REPORT
