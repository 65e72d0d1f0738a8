"""MinHash signatures cut into bands: two texts that share most of their word triples share a band,
most likely.

Source: Broder 1997, On the resemblance and containment of documents; bands as in Leskovec,
Rajaraman, Ullman, Mining of Massive Datasets, 3.4. Fourteen bands of eight rows: texts of Jaccard
similarity J meet with probability 1 - (1 - J^8)^14, that is 0.21 at J = 0.6, 0.92 at 0.8 and 0.99
at 0.85.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

BANDS, ROWS = 14, 8
SHINGLE_WORDS = 3
_rng = np.random.default_rng(20_260_001)
_A = _rng.integers(1, 1 << 63, BANDS * ROWS, np.uint64) * np.uint64(2) + np.uint64(1)
_B = _rng.integers(0, 1 << 63, BANDS * ROWS, np.uint64)
_MIX = _rng.integers(1, 1 << 63, (BANDS, ROWS), np.uint64) * np.uint64(2) + np.uint64(1)
_AT_ONCE = 4096  # shingles; bounds the memory of a long text


def band_keys(words: Sequence[str]) -> np.ndarray:
    """BANDS numbers of 64 bits; two texts are alike where they agree in one of them at the same
    place.
    """
    return _band_keys(tuple(words))


@lru_cache(maxsize=4096)
def _band_keys(words: tuple[str, ...]) -> np.ndarray:
    count = max(1, len(words) - SHINGLE_WORDS + 1)
    shingles = {" ".join(words[place : place + SHINGLE_WORDS]) for place in range(count)}
    hashes = np.fromiter(map(_hash, shingles), np.uint64, len(shingles))
    least = np.full(BANDS * ROWS, np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(hashes), _AT_ONCE):
        np.minimum(
            least,
            ((_A[:, None] * hashes[start : start + _AT_ONCE] + _B[:, None]) >> np.uint64(32)).min(
                1
            ),
            out=least,
        )
    bands = (least.reshape(BANDS, ROWS) * _MIX).sum(1, dtype=np.uint64)
    return mixed(bands + np.arange(BANDS, dtype=np.uint64))


@lru_cache(maxsize=1 << 16)
def _hash(shingle: str) -> int:
    return hash64(shingle)


def hash64(text: str) -> int:
    """64 bits of a text, the same in every process."""
    return int.from_bytes(
        hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big"
    )


def mixed(keys: np.ndarray) -> np.ndarray:
    """Each number scattered over all 64 bits (the finaliser of splitmix64), so that keys can be
    shared out by their remainder.
    """
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
