"""Weekly sets per muscle, counted fractionally, their bounds, and how fast they may grow."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.vocabulary import Muscle

INDIRECT_CREDIT: Final = 0.5
"""A set counts half for a muscle that only helps (Pelland et al. 2025: the best fit)."""
LARGEST_WEEKLY_GROWTH: Final = 0.20
MOST_SETS: Final = {"beginner": 14.0, "intermediate": 18.0, "advanced": 22.0}
"""Most fractional sets per muscle and week: coaching practice (MAV/MRV), not trials."""
DELOAD_SHARE: Final = 0.6
"""Sets of a deload week, to the nearest set: coaches cut volume first and don't stop (Delphi 2023, Coleman 2023)."""


def weekly_sets(
    sets: Mapping[str, int], muscles: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]], indirect: float = INDIRECT_CREDIT
) -> dict[str, float]:
    """Fractional sets per muscle: `muscles` gives each exercise's (primary, secondary); a primary set counts one."""
    total: dict[str, float] = {}
    for exercise, count in sets.items():
        primary, secondary = muscles[exercise]
        for muscle in primary:
            total[muscle] = total.get(muscle, 0.0) + count
        for muscle in secondary:
            total[muscle] = total.get(muscle, 0.0) + count * indirect
    return total


# Half sets of 21 muscles fit eight bits each, so three machine words hold a week: one addition counts a set for every
# muscle it trains, and one subtraction compares all of them with their bounds. That keeps a sequential rule ("add a set
# where every muscle has room") vectorised over users.
LANES_PER_WORD: Final = 8
WORDS: Final = -(-len(Muscle) // LANES_PER_WORD)
_GUARD: Final = np.uint64(0x8080808080808080)
_DIRECT: Final = np.uint64(0x0202020202020202)
MOST_HALF_SETS: Final = 127


def pack(half_sets: NDArray[np.integer]) -> NDArray[np.uint64]:
    """(…, muscles) counts of half sets, 0-127 -> (WORDS, …) packed words."""
    counts = np.asarray(half_sets)
    if counts.size and (counts.min() < 0 or counts.max() > MOST_HALF_SETS):
        raise ValueError(f"Half sets per muscle must lie in 0-{MOST_HALF_SETS}, got {counts.min()}-{counts.max()}.")
    padded = np.zeros((*counts.shape[:-1], WORDS * LANES_PER_WORD), dtype=np.uint8)
    padded[..., : counts.shape[-1]] = counts
    return np.ascontiguousarray(np.moveaxis(padded.view("<u8"), -1, 0))


def unpack(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The inverse of `pack`: (WORDS, …) -> (…, muscles)."""
    lanes = np.ascontiguousarray(np.moveaxis(words, 0, -1).astype("<u8")).view(np.uint8)
    return lanes[..., : len(Muscle)]


def fits(words: NDArray[np.uint64], bounds: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether every muscle's count is at most its bound; (WORDS, n) each, all counts below 128."""
    free = np.ones(words.shape[1:], dtype=bool)
    for word, bound in zip(words, bounds, strict=True):
        free &= (((bound | _GUARD) - word) & _GUARD) == _GUARD
    return free


class Room:
    """What may still be added to every muscle, for n users: the bounds less what is counted so far."""

    def __init__(self, bounds: NDArray[np.uint64], total: NDArray[np.uint64] | None = None) -> None:
        """(WORDS, n) packed each, counts below 128. A muscle that is past its bound already gets no more, the others may."""
        self.most = (bounds if total is None else _lanes(np.maximum, bounds, total)) | _GUARD
        self.left = self.most.copy() if total is None else self.most - total

    def fits(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether (WORDS, n) more would leave every muscle within its bound."""
        rest = self.left - words
        every = rest[0] & rest[1] & rest[2] & _GUARD
        return every == _GUARD

    def fits_direct(self, words: NDArray[np.uint64], times: int) -> NDArray[np.bool_]:
        """The same for so many sets of an exercise with these words (0-2 half sets a muscle), asking only muscles that it trains
        directly, with two half sets."""
        rest = self.left - (words if times == 1 else words * np.uint64(times))
        over = ~rest & ((words & _DIRECT) << np.uint64(6))
        out: NDArray[np.bool_] = (over[0] | over[1] | over[2]) == 0
        return out

    def take(self, words: NDArray[np.uint64], count: NDArray[np.bool_ | np.int8]) -> None:
        """Count the words of each user so many times; they fit."""
        self.left -= words * count.view(np.uint8)

    def counted(self) -> NDArray[np.uint64]:
        """What is counted so far, (WORDS, n) packed."""
        return self.most - self.left


assert WORDS == 3, "Room names three words"


def grown(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each muscle's bound for the following week: its count and a fifth of it, rounded down to half sets."""
    counts = np.ascontiguousarray(words).view(np.uint8)
    return np.minimum(counts + counts // np.uint8(5), np.uint8(MOST_HALF_SETS)).view(np.uint64)


def lesser(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The smaller count of each muscle."""
    return _lanes(np.minimum, one, other)


def _lanes(of_two: np.ufunc, one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint64]:
    packed: NDArray[np.uint64] = of_two(np.ascontiguousarray(one).view(np.uint8), np.ascontiguousarray(other).view(np.uint8)).view(
        np.uint64
    )
    return packed
