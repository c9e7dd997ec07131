"""Which exercises share their rest, and in which order the sets of a superset are done."""

from collections.abc import Mapping
from typing import Final

from domain.vocabulary import MovementPattern as P

ANTAGONISTS: Final[frozenset[frozenset[P]]] = frozenset(
    frozenset(pair)
    for pair in (
        (P.HORIZONTAL_PUSH, P.HORIZONTAL_PULL),
        (P.VERTICAL_PUSH, P.VERTICAL_PULL),
        (P.HORIZONTAL_PUSH, P.VERTICAL_PULL),
        (P.VERTICAL_PUSH, P.HORIZONTAL_PULL),
        (P.CHEST_FLY, P.REAR_DELT_FLY),
        (P.LATERAL_RAISE, P.REAR_DELT_FLY),
        (P.ELBOW_FLEXION, P.ELBOW_EXTENSION),
        (P.KNEE_EXTENSION, P.KNEE_FLEXION),
        (P.HIP_ABDUCTION, P.HIP_ADDUCTION),
        (P.TRUNK_FLEXION, P.TRUNK_EXTENSION),
    )
)
"""Pairs that work opposing muscles: about half the time at the same work (Iversen 2021)."""


def are_antagonists(one: P, other: P) -> bool:
    return frozenset((one, other)) in ANTAGONISTS


def order(sets: Mapping[str, int]) -> list[str]:
    """Round by round: each exercise that still has sets, in the order given. {"A": 2, "B": 1} gives A B A."""
    rounds = max(sets.values(), default=0)
    return [name for number in range(rounds) for name, count in sets.items() if count > number]
