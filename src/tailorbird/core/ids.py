"""Names and chance that never change: profile ids, buckets and action keys are hashes of what they stand for."""

from __future__ import annotations

from base64 import b32encode
from functools import lru_cache
from hashlib import blake2b
from typing import Final

__all__ = ["BUCKET_PRIME", "bucket", "bucket_constants", "bucket_seed", "digest", "profile_id"]

BUCKET_PRIME: Final = 2_147_483_647
"""2**31 - 1: two factors below it multiply without leaving a signed 64-bit integer, in every SQL engine."""


def digest(*parts: str, size: int = 15) -> str:
    """Return a short lower-case base-32 digest of the parts; the same parts always give the same text.

    >>> digest("a", "b") == digest("a", "b") != digest("ab")
    True
    """
    state = blake2b(digest_size=size)
    for part in parts:
        raw = part.encode()
        state.update(len(raw).to_bytes(4, "big") + raw)
    return b32encode(state.digest()).decode().lower().rstrip("=")


def profile_id(kind: str, value: str) -> str:
    """Return the public id of the profile first seen under this identifier, so that replay gives it again."""
    return "p_" + digest("profile", kind, value, size=10)


def bucket_seed(public_id: str) -> int:
    """Return a profile's fixed chance: a uniform integer in ``[0, BUCKET_PRIME)`` that is stored with it."""
    return int.from_bytes(blake2b(public_id.encode(), digest_size=8, person=b"tb.bucket").digest(), "big") % BUCKET_PRIME


@lru_cache(maxsize=4096)
def bucket_constants(salt: str) -> tuple[int, int]:
    """Return ``(a, b)`` of the hash ``(seed * a + b) mod BUCKET_PRIME`` that belongs to a salt; ``a`` is not 0."""
    raw = blake2b(salt.encode(), digest_size=16, person=b"tb.salt").digest()
    a = int.from_bytes(raw[:8], "big") % (BUCKET_PRIME - 1) + 1
    return a, int.from_bytes(raw[8:], "big") % BUCKET_PRIME


def bucket(seed: int, salt: str) -> float:
    """Return where a profile falls in ``[0, 1)`` for a salt; independent between salts, the same for ever.

    >>> 0 <= bucket(bucket_seed("p_ann"), "spring-test") < 1
    True
    """
    a, b = bucket_constants(salt)
    return ((seed * a + b) % BUCKET_PRIME) / BUCKET_PRIME
