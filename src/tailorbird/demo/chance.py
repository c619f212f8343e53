"""Chance that is the same on every machine and in every version of Python: all drawn from one stream of uniform numbers."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from math import exp, log
from random import Random
from typing import Generic, TypeVar

__all__ = ["Chance", "Weighted"]

T = TypeVar("T")


class Weighted(Generic[T]):
    """Options with weights, ready to be drawn from many times."""

    def __init__(self, *options: tuple[T, float]) -> None:
        self.options = [option for option, _ in options]
        self.edges = list(accumulate(weight for _, weight in options))


class Chance:
    """A deterministic source of chance.

    >>> Chance("shop:1").integer(1, 6) == Chance("shop:1").integer(1, 6)
    True
    """

    def __init__(self, seed: str) -> None:
        # only random() is promised to give the same numbers in every version, so everything is made from it
        self.uniform = Random(seed).random

    def happens(self, share: float) -> bool:
        """Return True with this probability."""
        return self.uniform() < share

    def integer(self, least: int, most: int) -> int:
        """Return a whole number, both ends included, all equally likely."""
        return least + int(self.uniform() * (most - least + 1))

    def between(self, least: float, most: float) -> float:
        """Return a number from an interval."""
        return least + self.uniform() * (most - least)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options, all equally likely."""
        return options[int(self.uniform() * len(options))]

    def draw(self, weighted: Weighted[T]) -> T:
        """Return one of the weighted options."""
        edges = weighted.edges
        return weighted.options[min(bisect(edges, self.uniform() * edges[-1]), len(edges) - 1)]

    def gap(self, mean: float) -> float:
        """Return an exponential waiting time."""
        return -mean * log(1.0 - self.uniform())

    def count(self, mean: float) -> int:
        """Return a Poisson count; for small means."""
        limit, product, found = exp(-mean), self.uniform(), 0
        while product > limit:
            product *= self.uniform()
            found += 1
        return found
