"""Back-test on real logs: predict the load of each session's top set from what came before, against "the last session's e1RM".

For every exercise-session after five, given the repetitions of its top set. Files are exports of Strong, Hevy or FitNotes, one
person each; without any, the long logs of the shared folder. Absolute percentage errors: the mean per person and then over
persons, so that the one with the longest log doesn't decide; and the median likewise.
"""

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.harness import Figures, figure, main
from domain.planning import e1rm
from domain.planning.estimates import predict_load
from domain.planning.inputs import SESSIONS_KEPT
from domain.vocabulary import WeightUnit
from domain.workout_logs import WorkoutLogError, read_log

SESSIONS_BEFORE = 5
FEWEST_PREDICTIONS = 30
"""A person with fewer says little and is shown, but not counted."""
LONG_LOG_ROWS = 800
SHARED_LOGS = Path(__file__).parents[2] / "shared" / "lifting-logs"


@dataclass(frozen=True)
class Errors:
    """Absolute percentage errors of one person's predictions, as shares."""

    name: str
    baseline: NDArray[np.float64]
    ours: NDArray[np.float64]


def exercise_sessions(workouts: pd.DataFrame, sets: pd.DataFrame) -> pd.DataFrame:
    """One row per exercise and workout, in order of time: day, top set's load and repetitions, best plain e1RM of its sets."""
    joined = sets.merge(workouts[["workout_index", "started_at_local"]], on="workout_index")
    working = joined[(joined["set_type"] != "warmup") & (joined["weight_kg"] > 0) & (joined["reps"] >= 1)].copy()
    working["e1rm"] = e1rm.epley(working["weight_kg"].to_numpy(dtype=float), working["reps"].to_numpy(dtype=float))
    group = ["exercise_name", "workout_index"]
    working["top"] = working.groupby(group)["weight_kg"].transform("max")
    working["top_reps"] = working["reps"].where(working["weight_kg"] == working["top"], 0)
    sessions = working.groupby(group, sort=False).agg(
        at=("started_at_local", "first"), load=("top", "first"), reps=("top_reps", "max"), e1rm=("e1rm", "max")
    )
    return sessions.reset_index().sort_values(["exercise_name", "at"], kind="stable", ignore_index=True)


def errors_of(name: str, workouts: pd.DataFrame, sets: pd.DataFrame) -> Errors:
    """Baseline and our errors over the sessions that both can predict: at least five before, 1-12 repetitions, a last e1RM."""
    sessions = exercise_sessions(workouts, sets)
    by_exercise = sessions.groupby("exercise_name", sort=False)
    day = sessions["at"].to_numpy().astype("datetime64[D]").astype(np.int64).astype(float)
    sessions["day"] = day
    before = {
        column: np.stack([by_exercise[column].shift(back).to_numpy(dtype=float) for back in range(1, SESSIONS_KEPT + 1)], axis=1)
        for column in ("load", "reps", "day", "e1rm")
    }
    reps, load = sessions["reps"].to_numpy(dtype=float), sessions["load"].to_numpy(dtype=float)
    last_e1rm = before["e1rm"][:, 0]
    counted = (by_exercise.cumcount().to_numpy() >= SESSIONS_BEFORE) & (reps <= e1rm.MOST_REPETITIONS) & np.isfinite(last_e1rm)
    ours = predict_load(
        load_kg=before["load"][counted],
        reps=before["reps"][counted],
        days_ago=day[counted, None] - before["day"][counted],
        target_reps=reps[counted],
    )
    baseline = last_e1rm[counted] / np.where(reps[counted] == 1, 1, 1 + reps[counted] / 30)
    actual = load[counted]
    return Errors(name, np.abs(baseline / actual - 1), np.abs(ours / actual - 1))


def default_files() -> list[tuple[Path, WeightUnit | None]]:
    """The long logs of the shared folder, with the unit that its list names."""
    if not SHARED_LOGS.is_dir():
        return []
    with (SHARED_LOGS / "MANIFEST.tsv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if int(row["rows"]) >= LONG_LOG_ROWS]
    return [(SHARED_LOGS / row["file"], WeightUnit(row["unit"]) if row["unit"] in set(WeightUnit) else None) for row in rows]


def run(quick: bool, options: argparse.Namespace) -> Figures:
    """The whole back-test takes seconds, so `quick` leaves out nothing."""
    del quick
    files = [(Path(name), options.weight_unit) for name in options.files] or default_files()
    if not files:
        sys.exit("Name the exports to test on: python -m benchmarks.backtest FILE… [--weight-unit kg|lb].")
    people = []
    for path, unit in files:
        try:
            log = read_log(path.read_bytes(), file_name=path.name, weight_unit=unit)
        except (WorkoutLogError, OSError) as error:
            print(f"{path.name}: left out: {error}")
            continue
        errors = errors_of(path.name, log.workouts, log.sets)
        counted = len(errors.ours) >= FEWEST_PREDICTIONS
        if len(errors.ours):
            print(
                f"{path.name}: {len(errors.ours)} predictions, mean {errors.ours.mean():.2%} (baseline {errors.baseline.mean():.2%}), "
                f"median {np.median(errors.ours):.2%} (baseline {np.median(errors.baseline):.2%}){'' if counted else '; too few to count'}"
            )
        else:
            print(f"{path.name}: no exercise was trained in more than {SESSIONS_BEFORE} sessions; nothing to predict")
        if counted:
            people.append(errors)
    if not people:
        sys.exit("None of the files holds enough history to test on.")
    mean, base = (float(np.mean([np.mean(getattr(person, which)) for person in people])) * 100 for which in ("ours", "baseline"))
    median, base_median = (float(np.mean([np.median(getattr(person, which)) for person in people])) * 100 for which in ("ours", "baseline"))
    return {
        "mape_improvement_pct": figure((1 - mean / base) * 100, "% of the baseline", limit=5.0, better="higher"),
        "mape_mean_of_users": figure(mean, "%", peer={"name": "last session's e1RM", "value": base}),
        "mape_baseline": figure(base, "%"),
        "ape_median": figure(median, "%", peer={"name": "last session's e1RM", "value": base_median}, limit=base_median),
        "ape_median_baseline": figure(base_median, "%"),
        "users": figure(len(people), "histories", better="higher"),
        "predictions": figure(sum(len(person.ours) for person in people), "sessions", better="higher"),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="exports of Strong, Hevy or FitNotes, one person each")
    parser.add_argument("--weight-unit", type=WeightUnit, choices=list(WeightUnit), help="unit of files that name none")


if __name__ == "__main__":
    main("backtest", run, description=__doc__, add_arguments=add_arguments)
