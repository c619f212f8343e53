"""How much segments have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from tailorbird.ports import Store

__all__ = ["Overlap", "Pair", "overlap"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two segments: how many are in both, as a share of either, and of all that are in one of them (Jaccard index)."""

    left: str
    right: str
    both: int
    share_of_left: float
    share_of_right: float
    jaccard: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """The sizes of some segments and every pair of them; a segment's pair with itself is its size."""

    sizes: dict[str, int]
    pairs: tuple[Pair, ...]

    def pair(self, left: str, right: str) -> Pair:
        """Return a pair, whichever way round it is asked for."""
        for item in self.pairs:
            if (item.left, item.right) == (left, right):
                return item
            if (item.left, item.right) == (right, left):
                return Pair(left, right, item.both, item.share_of_right, item.share_of_left, item.jaccard)
        raise KeyError((left, right))


def overlap(store: Store, segments: Sequence[str]) -> Overlap:
    """Return what the stored members of these segments have in common."""
    found = store.overlap(segments)
    known = store.segment_sizes()
    sizes = {name: known.get(name, 0) for name in segments}
    return Overlap(sizes, tuple(_pair(a, b, sizes, found) for a, b in combinations_with_replacement(segments, 2)))


def _pair(left: str, right: str, sizes: dict[str, int], found: dict[tuple[str, str], int]) -> Pair:
    both = sizes[left] if left == right else found.get((left, right), found.get((right, left), 0))
    either = sizes[left] + sizes[right] - both
    return Pair(
        left, right, both,
        both / sizes[left] if sizes[left] else 0.0,
        both / sizes[right] if sizes[right] else 0.0,
        both / either if either else 0.0,
    )  # fmt: skip
