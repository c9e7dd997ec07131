"""Which loads can be put together from the bars, plates, dumbbells and stacks at hand, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.vocabulary import KG_PER_LB

BAR_KG: Final = 20.0
BAR_LB: Final = 45.0
_SCALE: Final = 1000
"""Sums run in thousandths of the unit as whole numbers, so that 1.25 + 1.25 is 2.5 whatever the order."""


@dataclass(frozen=True)
class Loading:
    total: float
    per_side: tuple[float, ...]
    """Plates on each side, heaviest first."""


def load_bar(target: float, *, bar: float, plates: Mapping[float, int]) -> Loading:
    """The heaviest load that doesn't exceed `target`, with the fewest plates, among equals with the heavier ones first.

    `plates` counts all plates of a weight; a pair is needed to use one per side. Any one unit. A target below the bar is the bar.
    """
    sums = _sums(_pairs(plates))
    wanted = max(0, round((target - bar) / 2 * _SCALE))
    best = max((total for total in sums if total <= wanted), default=0)
    return Loading(round(bar + 2 * best / _SCALE, 6), tuple(weight / _SCALE for weight in sums[best]))


def reachable_loads(*, bar: float, plates: Mapping[float, int]) -> NDArray[np.float64]:
    """Every load that the bar and the plates can make, ascending, the empty bar first. Same unit in and out."""
    return np.array(sorted(bar + 2 * total / _SCALE for total in _sums(_pairs(plates))))


MOST_SUMS: Final = 4000
"""Of one side of a bar: every real set of plates has fewer; a typed-in one that has more goes without its smallest plates."""


@lru_cache(maxsize=4096)
def _sums(pairs: tuple[tuple[int, int], ...]) -> dict[int, tuple[int, ...]]:
    """Sum per side (thousandths) -> plates, fewest, then heaviest first. Heaviest plates are tried first, so ties keep them."""
    sums: dict[int, tuple[int, ...]] = {0: ()}
    for weight, count in pairs:
        if len(sums) > MOST_SUMS:
            break
        for total, chosen in list(sums.items()):
            for number in range(1, count + 1):
                candidate = chosen + (weight,) * number
                known = sums.get(total + weight * number)
                if known is None or (len(candidate), [-w for w in candidate]) < (len(known), [-w for w in known]):
                    sums[total + weight * number] = candidate
    return sums


def _pairs(plates: Mapping[float, int]) -> tuple[tuple[int, int], ...]:
    usable = ((round(float(weight) * _SCALE), int(count) // 2) for weight, count in plates.items())
    return tuple(sorted(((weight, min(count, 10)) for weight, count in usable if weight > 0 and count > 0), reverse=True))


@dataclass(frozen=True)
class Inventory:
    """What one user can load, in kg: every total of the straight bar, every dumbbell, every pin of the weight stacks of machines and
    cables, ascending; empty where not listed."""

    barbell_kg: tuple[float, ...] = ()
    dumbbell_kg: tuple[float, ...] = field(default=())
    stack_kg: tuple[float, ...] = field(default=())


def parse_inventory(document: Any) -> Inventory:
    """An inventory as the app stores it: {"unit": "kg", "bar": 20, "plates": {"20": 2, "2.5": 4}, "dumbbells": [5, 10],
    "stacks": [5, 12.5, 20]}.

    Everything is optional; what isn't understood is left out, because a plan by the default steps beats no plan.
    """
    if not isinstance(document, Mapping):
        return Inventory()
    in_pounds = document.get("unit") == "lb"
    factor = KG_PER_LB if in_pounds else 1.0
    plates = {
        weight: int(number)
        for key, count in _items(document.get("plates"))
        if (weight := _number(key)) is not None and (number := _number(count)) is not None
    }
    bar = _number(document.get("bar")) or (BAR_LB if in_pounds else BAR_KG)
    dumbbells, stacks = (
        tuple(sorted({weight * factor for item in items if (weight := _number(item))})) if isinstance(items, list | tuple) else ()
        for items in (document.get("dumbbells"), document.get("stacks"))
    )
    return Inventory(
        tuple(float(total) * factor for total in reachable_loads(bar=bar, plates=dict(list(plates.items())[:16]))) if plates else (),
        dumbbells,
        stacks,
    )


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # the last: a whole number beyond every float
        return None
    return number if 0 < number < 1000 else None
