"""Planning: the engine alone, and from Postgres to Postgres, against the fastest peer and against COPY of the same rows.

The population is drawn here, without the simulation of whole lives: profiles of all kinds, and for four of five users the last
sessions of about six exercises, as `intermediate.training_state` holds them.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from benchmarks.harness import Figures, ThrowawayPostgres, figure, main, throwaway_postgres
from database import plans
from database.connection import Role
from database.planning_inputs import POSTGRES_EPOCH_DAYS, STATE_SESSION, STATE_SET, bulk_reader, pack_sets
from domain.exercises.catalogue import load_catalogue
from domain.planning import History, KeyLists, PlanningInputs, plan_batch
from domain.planning.engine import kinds_known
from domain.planning.inputs import EQUIPMENT, GOALS, LEVELS, NO_DATE, SESSIONS_KEPT, bits
from domain.planning.movements import movements

HYPERTRACK = {"name": "HyperTrack, rules only, in memory", "value": 18_956.0}
"""Measured on this kind of machine (PLANNERS, speed of peers)."""
WGER = 12.2
AS_OF = datetime(2024, 5, 1, 4, tzinfo=UTC)
TODAY = (AS_OF.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days
GYM = ("barbell", "ez_bar", "dumbbell", "cable", "machine", "smith_machine", "pull_up_bar", "dip_bars", "bench", "rack", "plate")


def population(users: int, seed: int = 1) -> PlanningInputs:
    """Users who train on four days in a gym, so that a plan has 4 weeks × 4 sessions × 6 exercises; the rest of them differs.

    That many exercises need muscles that are used to it: few beginners, and weeks of six to ten sets of an exercise.
    """
    random = np.random.default_rng(seed)
    catalogue = load_catalogue()
    frame = catalogue.frame
    popular = frame.loc[frame["priority"] >= 60, "exercise_key"].to_numpy(np.int32)
    count = np.where(random.random(users) < 0.8, random.integers(4, 12, users), 0)
    owner = np.repeat(np.arange(users, dtype=np.int64), count)
    pairs = np.unique(owner << 32 | popular[random.integers(0, len(popular), len(owner))])
    owner, key = pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.int32)
    rows = len(key)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=users))]).astype(np.int64)
    place = np.arange(SESSIONS_KEPT)
    last = TODAY - random.integers(0, 10, users) - np.where(random.random(users) < 0.15, random.integers(14, 200, users), 0)
    on = last[owner][:, None] - random.integers(0, 4, rows)[:, None] - place * random.integers(3, 8, rows)[:, None]
    held = place < random.integers(1, SESSIONS_KEPT + 1, rows)[:, None]
    strength = 80 * frame["cold_start_ratio"].to_numpy()[catalogue.rows_of(key)] * random.uniform(0.7, 2.0, users)[owner]
    reps = random.integers(4, 13, (rows, SESSIONS_KEPT)).astype(np.int16)
    load = np.floor(strength[:, None] * (1 - 0.008 * place) * np.exp(random.normal(0, 0.03, reps.shape)) / (1 + reps / 30) / 2.5) * 2.5
    load = np.where(held, np.maximum(load, 0), 0).astype(np.float32)
    sets = np.where(held, random.integers(1, 5, reps.shape), 0).astype(np.int16)
    rpe = np.where(held & (random.random(reps.shape) < 0.3), random.integers(12, 21, reps.shape) / 2, np.nan).astype(np.float32)
    history = History(
        offsets=offsets,
        exercise_key=key,
        session_on=np.where(held, on, NO_DATE).astype(np.int32),
        top_load_kg=load,
        top_reps=np.where(held, reps, 0).astype(np.int16),
        fewest_reps=np.where(held, np.maximum(reps - random.integers(0, 3, reps.shape), 1), 0).astype(np.int16),
        sets_at_top=sets,
        working_sets=np.where(held, sets + random.integers(3, 8, reps.shape), 0).astype(np.int16),
        rpe=rpe,
        e1rm_kg=np.where(held & (load > 0), load * (1 + reps / 30), np.nan).astype(np.float32),
        prescribed_kg=np.where(random.random(rows) < 0.6, load[:, 0] + 2.5 * random.integers(-1, 2, rows), np.nan).astype(np.float32),
        prescribed_sets=random.integers(0, 4, rows).astype(np.int16),
    )
    one = np.uint16(1)
    caution = np.where(random.random(users) < 0.15, one << random.integers(0, 9, users).astype(np.uint16), 0).astype(np.uint16)
    avoid = np.where(random.random(users) < 0.05, one << random.integers(0, 9, users).astype(np.uint16), 0).astype(np.uint16)
    return PlanningInputs(
        user_key=np.arange(1, users + 1, dtype=np.int64),
        today=np.full(users, TODAY, dtype=np.int32),
        goal=random.integers(0, len(GOALS), users).astype(np.int8),
        experience=random.choice(len(LEVELS), users, p=[0.15, 0.5, 0.35]).astype(np.int8),
        days_per_week=np.full(users, 4, dtype=np.int8),
        weekdays=random.integers(0, 128, users).astype(np.uint8),
        session_minutes=random.choice([60, 75, 90], users).astype(np.int16),
        equipment=np.full(users, bits(GYM, EQUIPMENT), dtype=np.uint32),
        limits_caution=caution,
        limits_avoid=avoid,
        limits_returning=np.zeros(users, dtype=np.uint16),
        limits_eased_on=np.full(users, NO_DATE, dtype=np.int32),
        sex=random.integers(-1, 2, users).astype(np.int8),
        birth_year=random.integers(1945, 2008, users).astype(np.int16),
        body_weight_kg=np.where(random.random(users) < 0.1, np.nan, random.normal(78, 14, users)).astype(np.float32),
        in_pounds=random.random(users) < 0.3,
        smallest_plate_kg=np.full(users, np.nan, dtype=np.float32),
        inventory=np.full(users, -1, dtype=np.int32),
        disliked=_lists(random, users, popular, 0.5),
        preferred=_lists(random, users, popular, 0.2),
        mesocycle_started_on=np.where(random.random(users) < 0.3, NO_DATE, TODAY - random.integers(0, 60, users)).astype(np.int32),
        previous_goal=np.full(users, -1, dtype=np.int8),
        history=history,
    )


def _lists(random: np.random.Generator, users: int, keys: NDArray[np.int32], share: float) -> KeyLists:
    count = (random.random(users) < share).astype(np.int64)
    return KeyLists(np.concatenate([[0], np.cumsum(count)]), keys[random.integers(0, len(keys), int(count.sum()))])


def engine_figures(quick: bool) -> Figures:
    """CPU seconds of the engine alone, columns to columns; wall time would count what else the machine does.

    The first run is a figure of its own: it also gets the process its memory and ranks the exercises of each kind of user.
    """
    catalogue = load_catalogue()
    users = 20_000 if quick else 60_000
    inputs = population(users)
    began = time.process_time()
    plan_batch(inputs, catalogue)
    first = users / (time.process_time() - began)
    kinds = kinds_known(catalogue)
    rates = []
    for _ in range(5 if quick else 7):
        began = time.process_time()
        batch = plan_batch(inputs, catalogue)
        rates.append(users / (time.process_time() - began))
    slots = len(batch.exercise_key) / users
    figures = {
        "engine_users_per_core_second": figure(rates, "users/s", peer=HYPERTRACK, limit=60_000.0),
        "engine_best_users_per_core_second": figure(max(rates), "users/s", peer=HYPERTRACK),
        "engine_first_run_users_per_core_second": figure(first, "users/s", peer=HYPERTRACK),
        "engine_distinct_kinds_of_users": figure(kinds, "kinds", better="higher"),
        "exercises_per_week": figure(slots, "exercises", better="higher"),
    }
    for size in (1_000, 10_000) if quick else (1_000, 10_000, 100_000, 1_000_000):
        seconds = 0.0
        for start in range(0, size, 100_000):
            part = population(min(size, 100_000), seed=start)
            began = time.process_time()
            plan_batch(part, catalogue)
            seconds += time.process_time() - began
        figures[f"engine_microseconds_per_user_at_{size}"] = figure(seconds / size * 1e6, "µs")
    return figures


STATE_TABLES = """
create schema if not exists intermediate;
create table intermediate.training_state (user_key bigint, exercise_key integer, sessions bytea, packed_sets bytea, primary key (user_key, exercise_key));
create table staging.change_cursor (batch bigint, snapshot pg_snapshot);
create table staging.model_state (model text, consumed_batch bigint);
create table staging.changes (batch bigint, kind text, user_key bigint);
"""
"""What the planner looks at of what dbt makes; tests hold the columns to the models."""
STATE_IS_BUILT = """
insert into staging.change_cursor select 1, pg_current_snapshot();
insert into staging.model_state values ('training_state', 1);
"""
FILLED_TOGETHER = 100_000


def fill(postgres: ThrowawayPostgres, users: int) -> None:
    """Users, profiles and training state of `users` people, as the app and dbt would have left them."""
    with postgres.connect() as owner:
        owner.execute(STATE_TABLES)
        for start in range(0, users, FILLED_TOGETHER):
            _fill_part(owner, population(min(users - start, FILLED_TOGETHER), seed=1 + start), start)
        owner.execute(STATE_IS_BUILT)
        owner.execute("vacuum analyze app.users, app.profiles, intermediate.training_state")


def _fill_part(owner: psycopg.Connection, inputs: PlanningInputs, shift: int) -> None:
    keys = (inputs.user_key + shift).tolist()
    with owner.cursor() as cursor:
        with cursor.copy("copy app.users (user_id, time_zone) from stdin") as copy:
            copy.write("".join(f"user {key}\tUTC\n" for key in keys))
        columns = "user_key, goal, experience_level, days_per_week, session_minutes, gym_equipment, limitations, sex, birth_year, body_weight_kg, weight_unit"
        equipment = "{" + ",".join(GYM) + "}"
        with cursor.copy(f"copy app.profiles ({columns}, disliked_exercise_keys) from stdin") as copy:
            disliked = np.split(inputs.disliked.keys, inputs.disliked.offsets[1:-1])
            for user in range(len(inputs)):
                row = (
                    str(keys[user]),
                    GOALS[inputs.goal[user]].value,
                    LEVELS[inputs.experience[user]].value,
                    "4",
                    str(inputs.session_minutes[user]),
                    equipment,
                    '[{"area": "knee", "severity": "avoid"}]' if inputs.limits_avoid[user] else "[]",
                    ("\\N", "female", "male")[inputs.sex[user] + 1],
                    str(inputs.birth_year[user]),
                    "\\N" if not 20 <= inputs.body_weight_kg[user] <= 400 else f"{inputs.body_weight_kg[user]:.1f}",
                    "lb" if inputs.in_pounds[user] else "kg",
                    "{" + ",".join(map(str, disliked[user].tolist())) + "}",
                )
                copy.write("\t".join(row) + "\n")
        owner_key = np.repeat(inputs.user_key + shift, np.diff(inputs.history.offsets)).tolist()
        exercise_key = inputs.history.exercise_key.tolist()
        sessions, session_ends, sets, set_ends = packed(inputs.history)
        with cursor.copy("copy intermediate.training_state from stdin") as copy:
            session, at_set = 0, 0
            for row in range(len(owner_key)):
                until, until_set = session_ends[row], set_ends[row]
                copy.write(
                    f"{owner_key[row]}\t{exercise_key[row]}\t\\\\x{sessions[28 * session : 28 * until]}\t\\\\x{sets[16 * at_set : 16 * until_set]}\n"
                )
                session, at_set = until, until_set


def packed(history: History) -> tuple[str, list[int], str, list[int]]:
    """Sessions and sets of a history as the columns of `intermediate.training_state` hold them, in hexadecimal, with each row's ends."""
    row, place = np.nonzero(history.session_on > NO_DATE)
    count = history.sets_at_top[row, place].astype(np.int64)
    session_on = history.session_on[row, place].astype(np.int64) - POSTGRES_EPOCH_DAYS
    sessions = np.zeros(len(row), dtype=STATE_SESSION)
    sessions["started_at"] = (session_on * 86_400 + 64_800) * 1_000_000
    sessions["session_on"], sessions["sets"] = session_on, count
    of_set = np.repeat(np.arange(len(row)), count)
    is_first = np.concatenate([[True], of_set[1:] != of_set[:-1]])
    reps = np.where(is_first, history.top_reps[row, place][of_set], history.fewest_reps[row, place][of_set])
    sets = pack_sets(history.top_load_kg[row, place][of_set], reps, history.rpe[row, place][of_set]).astype(STATE_SET)
    rows = np.bincount(row, minlength=len(history))
    sets_of_row = np.bincount(row, weights=count, minlength=len(history)).astype(np.int64)
    return sessions.tobytes().hex(), np.cumsum(rows).tolist(), sets.tobytes().hex(), np.cumsum(sets_of_row).tolist()


def _regenerate(url: str, queue: Any, as_of: datetime, only_changed: bool) -> None:
    movements(load_catalogue())  # once per process, like the interpreter's start: not a cost of users
    with bulk_reader(url) as read:
        read("select 1 as one")
    began = time.perf_counter()
    done = plans.regenerate(url, as_of=as_of, only_changed=only_changed)
    queue.put((time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, done))


def regenerate_apart(url: str, *, as_of: datetime = AS_OF, only_changed: bool = True) -> tuple[float, float, plans.Regeneration]:
    """(seconds, peak memory in MB, report) of a regeneration in a process of its own, without its start-up."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_regenerate, args=(url, queue, as_of, only_changed))
    process.start()
    found: tuple[float, float, plans.Regeneration] = queue.get()
    process.join()
    return found


def copy_alone(postgres: ThrowawayPostgres) -> float:
    """Seconds of COPY of the stored plans, in binary, into an empty table with the same columns, constraints and key."""
    with tempfile.TemporaryFile() as file, postgres.connect(autocommit=False) as owner, owner.cursor() as cursor:
        columns = ", ".join(plans.PLAN_COLUMNS)
        with cursor.copy(f"copy plans.plans ({columns}) to stdout (format binary)") as copy:
            for data in copy:
                file.write(data)
        cursor.execute("drop table if exists plans.copied")
        cursor.execute("create table plans.copied (like plans.plans including all)")
        cursor.execute("alter table plans.copied add foreign key (user_key) references app.users on delete cascade")
        cursor.execute("alter table plans.copied set (toast_tuple_target = 8160)")
        owner.commit()
        file.seek(0)
        began = time.perf_counter()
        with cursor.copy(f"copy plans.copied ({columns}) from stdin (format binary)") as copy:
            while data := file.read(1 << 20):
                copy.write(data)
        owner.commit()
        seconds = time.perf_counter() - began
        cursor.execute("drop table plans.copied")
        owner.commit()
    return seconds


def end_to_end_figures(users: int, runs: int) -> Figures:
    """From Postgres to Postgres: read state, plan, write; then the same with nothing changed; then COPY alone."""
    with throwaway_postgres() as postgres:
        fill(postgres, users)
        url = postgres.urls[Role.PIPELINE]
        full, memory, copied, idle, next_week = [], [], [], [], []
        for _ in range(runs):
            with postgres.connect() as owner:
                owner.execute("truncate plans.plans")
            seconds, megabytes, done = regenerate_apart(url, only_changed=False)
            if done.planned != users:
                raise RuntimeError(f"{done.planned} of {users} users were planned for.")
            full.append(seconds)
            print(
                f"{users} users in {seconds:.2f} s: reading {done.seconds_reading:.2f}, planning {done.seconds_planning:.2f}, "
                f"writing {done.seconds_writing:.2f} beside them"
            )
            memory.append(megabytes)
            with postgres.connect() as owner:
                owner.execute("vacuum analyze plans.plans")
            regenerate_apart(url)  # moves the watermarks past the filling of the tables
            seconds, _, done = regenerate_apart(url)
            if done.planned or done.users:
                raise RuntimeError(f"{done.users} users were looked at although nothing changed.")
            idle.append(seconds)
            copied.append(copy_alone(postgres))
            seconds, megabytes, done = regenerate_apart(url, as_of=AS_OF + timedelta(days=7))
            if done.planned != users:
                raise RuntimeError(f"{done.planned} of {users} users were planned for in the next week.")
            next_week.append(seconds)
            memory[-1] = max(memory[-1], megabytes)
        with postgres.connect() as owner:
            row = owner.execute("select pg_total_relation_size('plans.plans')::float / count(*) from plans.plans").fetchone()
            assert row
    return {
        "end_to_end_users_per_second": figure(
            [users / seconds for seconds in full], "users/s", peer={"name": "wger", "value": WGER}, limit=5_000.0
        ),
        "end_to_end_seconds": figure(full, "s"),
        "next_week_users_per_second": figure([users / seconds for seconds in next_week], "users/s"),
        "copy_alone_seconds": figure(copied, "s"),
        "ratio_to_copy": figure([one / other for one, other in zip(full, copied, strict=True)], "×", limit=3.0),
        "unchanged_share": figure([one / other * 100 for one, other in zip(idle, full, strict=True)], "%", limit=2.0),
        "peak_memory_mb": figure(memory, "MB", limit=1536.0),
        "bytes_per_plan": figure(row[0], "B"),
        "end_to_end_users": figure(users, "users", better="higher"),
    }


def growth_figures(users: int) -> Figures:
    """What a user costs among so many, from Postgres to Postgres, and the memory that it takes."""
    with throwaway_postgres() as postgres:
        fill(postgres, users)
        seconds, megabytes, done = regenerate_apart(postgres.urls[Role.PIPELINE], only_changed=False)
    if done.planned != users:
        raise RuntimeError(f"{done.planned} of {users} users were planned for.")
    return {
        f"end_to_end_microseconds_per_user_at_{users}": figure(seconds / users * 1e6, "µs"),
        f"peak_memory_mb_at_{users}": figure(megabytes, "MB", limit=1536.0),
    }


def run(quick: bool, options: argparse.Namespace) -> Figures:
    users = options.users or (30_000 if quick else 100_000)
    figures = engine_figures(quick) | end_to_end_figures(users, 1 if quick else 3)
    for size in () if quick or options.users else (10_000, 1_000_000):
        figures |= growth_figures(size)
    return figures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--users", type=int, help="users from Postgres to Postgres (default 100,000, then 10,000 and 1,000,000; with --quick 30,000)"
    )


if __name__ == "__main__":
    main("planning", run, description=__doc__, add_arguments=add_arguments)
