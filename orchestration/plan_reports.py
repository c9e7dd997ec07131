"""Tells Dagster about the plan worker's batches: as materialisations of the plans asset, at most one a minute."""

import logging
import threading
from dataclasses import dataclass, field

import dagster as dg

from database.plan_requests import BatchReport

logger = logging.getLogger("mesocycle.plan_worker")

INTERVAL_SECONDS = 60.0
PLANS_ASSET = dg.AssetKey(["plans", "plans"])


@dataclass
class PlanReporter:
    """Adds batches up and reports their sum, so that a busy hour isn't a thousand rows. Dagster away delays only the report."""

    interval_seconds: float = INTERVAL_SECONDS
    instance: dg.DagsterInstance | None = None
    _sum: BatchReport = field(default_factory=BatchReport)
    _batches: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True, name="plan-reports")
        self._thread.start()

    def stop(self) -> None:
        """Report what is left."""
        self._stopping.set()
        if self._thread:
            self._thread.join(timeout=10)

    def add(self, batch: BatchReport) -> None:
        self._add(batch, 1)

    def _add(self, batch: BatchReport, batches: int) -> None:
        with self._lock:
            self._sum.users += batch.users
            self._sum.failures += batch.failures
            self._sum.seconds += batch.seconds
            self._batches += batches

    def flush(self) -> bool:
        """Report the sum so far, if there is any; whether there was. Raises what Dagster raises; then the sum is kept."""
        with self._lock:
            total, batches = self._sum, self._batches
            self._sum, self._batches = BatchReport(), 0
        if not batches:
            return False
        try:
            instance = self.instance or dg.DagsterInstance.get()
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    PLANS_ASSET,
                    description="Plans on request",
                    metadata={
                        "users": total.users,
                        "failures": total.failures,
                        "batches": batches,
                        "seconds": round(total.seconds, 3),
                        "made_by": "plan worker",
                    },
                )
            )
        except Exception:
            self._add(total, batches)  # for the next report
            raise
        return True

    def _run(self) -> None:
        while True:
            ended = self._stopping.wait(self.interval_seconds)
            try:
                self.flush()
            except Exception:
                logger.exception("Dagster could not be told about the last batches.")
            if ended:
                return
