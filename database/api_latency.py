"""Latency histograms of the API: their bounds, how a process counts, and the statement that delivers a batch to `ops`."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

BOUNDS_MS: Final[tuple[float, ...]] = (
    *(0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750),
    *(1000, 1500, 2000, 3000, 4000, 5000, 7500, 10000, 15000, 30000),
)
"""Upper bounds, inclusive, ms; marts.latency_bounds_ms() holds the same, and a test compares them."""

RECORD: Final = "select ops.record_api_latency($1::uuid, $2::bigint, $3::jsonb)"
"""(process, number of the batch, rows as JSON): false where the batch was delivered before."""

TOTALS: Final = "select method, route, status, requests, total_ms, buckets from ops.api_latency_totals order by method, route, status"
"""Counters over all processes and all time."""


@dataclass(slots=True)
class Histogram:
    """Answers counted by how long they took."""

    requests: int = 0
    total_ms: float = 0.0
    max_ms: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))

    def add(self, milliseconds: float) -> None:
        self.requests += 1
        self.total_ms += milliseconds
        self.max_ms = max(self.max_ms, milliseconds)
        self.buckets[bisect_left(BOUNDS_MS, milliseconds)] += 1


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """A percentile (0 to 1), ms, as marts.histogram_quantile() tells it: linear inside its bucket; None without requests."""
    total, up_to = sum(buckets), 0
    for number, hits in enumerate(buckets):
        below, up_to = up_to, up_to + hits
        if hits and up_to >= share * total:
            if number == len(BOUNDS_MS):
                return BOUNDS_MS[-1]
            low = BOUNDS_MS[number - 1] if number else 0.0
            return low + (BOUNDS_MS[number] - low) * max(share * total - below, 0) / hits
    return None
