"""The simulated population as a whole: the same bytes again, rates that the story needs, rows that could be real."""

import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from domain.exercises.catalogue import load_catalogue
from domain.simulation import Population, simulate
from domain.simulation.columns import Columns, rows_of
from domain.simulation.people import KITS
from domain.vocabulary import KG_PER_LB, Equipment, OnboardingStep, SetType
from tests.conftest import PROJECT

UNTIL = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
TABLES = ("users", "profiles", "custom_exercises", "workouts", "sets", "identity_links", "onboarding_events", "usage_events")


def digest(blocks: list[Population]) -> str:
    result = hashlib.sha256()
    for block in blocks:
        for table in TABLES:
            for name, column in getattr(block, table).items():
                result.update(name.encode() + column.dtype.str.encode() + np.ascontiguousarray(column).tobytes())
    return result.hexdigest()


@pytest.fixture(scope="module")
def block() -> Population:
    """Four thousand users: rates within two points."""
    (only,) = simulate(4000, 6, 11, UNTIL, block_users=4000)
    return only


@pytest.fixture(scope="module")
def events(block: Population) -> pd.DataFrame:
    """Onboarding events with the person that each belongs to: a user's position, or the anonymous id."""
    frame = block.frame("onboarding_events")
    links = block.frame("identity_links").set_index("anonymous_id")["user"]
    known = frame["user"].where(frame["user"] >= 0, frame["anonymous_id"].map(links))
    frame["person"] = known.astype(object).where(known.notna(), frame["anonymous_id"])
    return frame


@pytest.fixture(scope="module")
def sets(block: Population) -> pd.DataFrame:
    """Sets with their workout's user and start, and their exercise's row of the catalogue (NaN: custom)."""
    frame = block.frame("sets")
    workouts = block.frame("workouts")
    catalogue = load_catalogue().frame.set_index("exercise_key")
    columns = ["name", "load_type", "measured_in", "step_kg", "step_lb", "is_compound", "requires", "equipment"]
    frame = frame.join(workouts[["user", "started_at"]], on="workout")
    return frame.join(catalogue[columns], on="exercise_key")


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    program = (
        "from datetime import UTC, datetime\n"
        "from tests.domain.simulation.test_population import UNTIL, digest\n"
        "from domain.simulation import simulate\n"
        "print(digest(list(simulate(150, 3, 5, UNTIL, block_users=50))))\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, env={**os.environ, "PYTHONHASHSEED": "77"}, capture_output=True, text=True, check=True
    )
    here = list(simulate(150, 3, 5, UNTIL, block_users=50))
    assert other.stdout.strip() == digest(here)
    assert digest(list(simulate(150, 3, 6, UNTIL, block_users=50))) != digest(here)


def whole(blocks: list[Population], table: str, users_before: list[int]) -> pd.DataFrame:
    """One table of all blocks, with positions counted over all of them."""
    frames, workouts, customs = [], 0, 0
    for block, before in zip(blocks, users_before, strict=True):
        frame = block.frame(table)
        if "user" in frame:
            frame["user"] = frame["user"].where(frame["user"] < 0, frame["user"] + before)
        if table == "sets":
            frame["workout"] += workouts
            frame["exercise_key"] = frame["exercise_key"].where(frame["exercise_key"] > 0, frame["exercise_key"] - customs)
        workouts += rows_of(block.workouts)
        customs += rows_of(block.custom_exercises)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("table", TABLES)
def test_a_user_is_the_same_whatever_the_size_of_blocks_and_the_number_of_users(table: str) -> None:
    small = list(simulate(120, 4, 3, UNTIL, block_users=37))
    large = list(simulate(300, 4, 3, UNTIL, block_users=120))[:1]
    left, right = whole(small, table, [0, 37, 74, 111]), whole(large, table, [0])
    if table in ("onboarding_events", "usage_events"):
        left, right = left.sort_values("event_id", ignore_index=True), right.sort_values("event_id", ignore_index=True)
    pd.testing.assert_frame_equal(left, right)


def test_one_user_can_be_simulated_alone() -> None:
    (alone,) = simulate(1, 4, 3, UNTIL, first_user=41)
    (among,) = simulate(60, 4, 3, UNTIL)
    of_user = among.frame("workouts").query("user == 41").drop(columns="user").reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.frame("workouts").drop(columns="user"), of_user)


def test_six_of_ten_people_who_enter_complete_onboarding(events: pd.DataFrame) -> None:
    flow = events[events["flow"] == "onboarding"]
    entered = flow.loc[flow["step"] == "welcome", "person"].unique()
    done = flow[flow["event_type"].isin(["completed", "skipped"])].drop_duplicates(["person", "step"]).groupby("step").size()
    rates = [done[step] / len(entered) for step in OnboardingStep]
    assert 0.57 < rates[-1] < 0.63
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert 0.9 < rates[0] < 0.98
    skipped = flow.query("step == 'notifications' and event_type == 'skipped'")["person"].nunique()
    assert 0.3 < skipped / done["notifications"] < 0.44
    assert set(flow.loc[flow["event_type"] == "skipped", "step"]) == {"notifications"}


def test_errors_stop_people_and_some_try_again(events: pd.DataFrame) -> None:
    flow = events[events["flow"] == "onboarding"]
    account = flow[flow["step"] == "account"]
    erred = set(account.loc[account["event_type"] == "error", "person"])
    done = set(account.loc[account["event_type"] == "completed", "person"])
    everybody = set(account["person"])
    assert 0.3 < len(erred & done) / len(erred) < len((everybody - erred) & done) / len(everybody - erred)
    codes = flow.loc[flow["event_type"] == "error"].groupby("step")["error_code"].agg(set)
    assert codes["account"] == {"validation_failed", "email_taken", "network_timeout"}
    assert "payment_declined" in codes["plan_preview"]
    assert flow.loc[flow["event_type"] != "error", "error_code"].isna().all()
    starts = account[account["event_type"] == "started"].groupby("person").size()
    assert (starts > 1).sum() > 50


def test_one_release_on_android_loses_people_at_the_equipment_step(events: pd.DataFrame) -> None:
    step = events[(events["step"] == "equipment") & (events["flow"] == "onboarding")]
    bad = (step["platform"] == "android") & (step["app_version"] == "5.3.0")
    rate = step.assign(bad=bad).groupby("bad").apply(lambda group: (group["event_type"] == "error").sum() / group["person"].nunique())
    assert rate[True] > 4 * rate[False]


def test_people_are_anonymous_until_their_account_and_linked_afterwards(block: Population, events: pd.DataFrame) -> None:
    flow = events[events["flow"] == "onboarding"]
    before = flow[(flow["step"] == "welcome") & flow["person"].map(lambda person: not isinstance(person, str))]
    nameless = before["user"] < 0
    assert 0.9 < nameless.mean() < 0.97  # the others signed in first
    after = flow[(flow["step"] == "goal")]
    assert (after["user"] >= 0).all()
    lost = flow[flow["person"].map(lambda person: isinstance(person, str))]
    assert set(lost["step"]) == {"welcome", "account"}
    assert not ((lost["step"] == "account") & (lost["event_type"] == "completed")).any()
    assert block.frame("identity_links")["anonymous_id"].is_unique


def test_steps_come_in_order_and_durations_fit_the_clock(events: pd.DataFrame) -> None:
    flow = events[events["flow"] == "onboarding"].copy()
    flow["number"] = flow["step"].map({step: number for number, step in enumerate(OnboardingStep)})
    ordered = flow.sort_values(["occurred_at"], kind="stable")
    numbers = ordered.groupby("person")["number"].diff().dropna()
    assert numbers.isin([0, 1]).mean() > 0.999  # at most the end of the period bends somebody's clock
    ended = flow[flow["event_type"].isin(["completed", "skipped", "error"])]
    assert (ended["duration_ms"] >= 0).all()
    assert (flow.loc[flow["event_type"] == "started", "duration_ms"] == -1).all()


def test_some_events_come_late_out_of_order_and_by_wrong_clocks(events: pd.DataFrame) -> None:
    late = (events["received_at"] - events["occurred_at"]).dt.total_seconds()
    assert 0.03 < (late > 60).mean() < 0.12
    assert (late < -1).any()
    by_arrival = events.sort_values("received_at", kind="stable")
    turned = by_arrival.groupby("person")["occurred_at"].diff().dt.total_seconds() < 0
    assert 0.01 < turned.mean() < 0.15
    skew = (events["sent_at"] - events["received_at"]).dt.total_seconds().abs()
    assert (skew > 600).any()
    assert events["sent_at"].isna().any()


def test_event_ids_are_unique_and_trace_ids_well_formed(block: Population, events: pd.DataFrame) -> None:
    usage = block.frame("usage_events")
    assert pd.concat([events["event_id"], usage["event_id"]]).is_unique
    traces = events["traceparent"].dropna()
    assert 0.6 < len(traces) / len(events) < 0.9
    assert traces.str.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01").all()
    assert traces.str[36:52].is_unique


def test_nothing_happens_after_the_end(block: Population) -> None:
    for table in TABLES:
        frame = block.frame(table)
        for column in frame.select_dtypes("datetimetz"):
            if column != "sent_at":  # a client's own clock may say anything
                assert frame[column].dropna().max() <= UNTIL, (table, column)
    workouts = block.frame("workouts")
    known = workouts[workouts["duration_seconds"] >= 0]
    assert (known["started_at"] + pd.to_timedelta(known["duration_seconds"], unit="s") <= UNTIL).all()


def test_every_key_refers_to_a_row(block: Population) -> None:
    for table in ("profiles", "custom_exercises", "workouts", "identity_links", "usage_events"):
        user = getattr(block, table)["user"]
        assert user.min() >= 0
        assert user.max() < len(block)
    assert block.onboarding_events["user"].max() < len(block)
    workout, key = block.sets["workout"], block.sets["exercise_key"]
    assert 0 <= workout.min() <= workout.max() < rows_of(block.workouts)
    assert set(np.unique(key[key > 0])) <= set(load_catalogue().exercise_key.tolist())
    own = -1 - key[key < 0]
    assert own.max() < rows_of(block.custom_exercises)
    owner = block.custom_exercises["user"][own]
    assert (owner == block.workouts["user"][workout[key < 0]]).all()


def test_sets_are_sets_and_within_what_people_do(sets: pd.DataFrame) -> None:
    assert ((sets["reps"] > 0) | (sets["duration_seconds"] > 0) | (sets["distance_m"] > 0)).all()
    assert sets["reps"].max() <= 60
    assert sets["weight_kg"].dropna().between(0, 450).all()
    assert sets["rpe"].dropna().between(6, 10).all()
    assert (sets["rpe"].dropna() % 0.5 == 0).all()
    assert 0.1 < sets["rpe"].notna().mean() < 0.5
    by_seconds = sets["measured_in"] == "seconds"
    assert (sets.loc[by_seconds, "reps"] == -1).all()
    assert (sets.loc[by_seconds, "duration_seconds"] > 0).all()
    assert (sets.loc[sets["measured_in"] == "reps", "reps"] > 0).all()
    assert sets.loc[sets["load_type"] == "unloaded", "weight_kg"].isna().all()
    assert (sets.loc[(sets["load_type"] == "external"), "weight_kg"] > 0).all()
    assert set(sets["set_type"]) == set(SetType)
    assert sets.loc[sets["set_type"] == "warmup", "rpe"].isna().all()


def test_positions_count_from_zero_in_each_workout(sets: pd.DataFrame) -> None:
    group = sets.groupby("workout")["position"]
    assert (group.min() == 0).all()
    assert (group.max() + 1 == group.size()).all()
    assert not sets.duplicated(["workout", "position"]).any()


def test_warm_ups_are_lighter_than_the_work_that_follows(sets: pd.DataFrame) -> None:
    heaviest = sets[sets["set_type"] != "warmup"].groupby(["workout", "exercise_key"])["weight_kg"].max().rename("heaviest")
    warm_ups = sets[sets["set_type"] == "warmup"].join(heaviest, on=["workout", "exercise_key"])
    assert (warm_ups["weight_kg"] < warm_ups["heaviest"]).all()
    assert 0.05 < len(warm_ups) / len(sets) < 0.25


def test_loads_are_round_in_the_unit_of_the_user(block: Population, sets: pd.DataFrame) -> None:
    unit = block.frame("profiles").set_index("user")["weight_unit"]
    loaded = sets[(sets["load_type"] == "external") & (sets["step_kg"] > 0)].join(unit.rename("unit"), on="user").dropna(subset=["unit"])
    pounds = loaded["unit"] == "lb"
    assert 0.2 < pounds.mean() < 0.45
    shown = loaded["weight_kg"] / np.where(pounds, KG_PER_LB, 1.0)
    steps = shown / np.where(pounds, loaded["step_lb"], loaded["step_kg"])
    assert np.abs(steps - steps.round()).max() < 1e-9


def test_exercises_fit_the_equipment_and_spare_what_hurts(block: Population, sets: pd.DataFrame) -> None:
    profiles = block.frame("profiles").set_index("user")
    catalogue = load_catalogue()
    kits = {"{" + ",".join(kit.equipment) + "}": kit for kit in KITS}
    rows = sets[sets["exercise_key"] > 0].drop_duplicates(["user", "exercise_key"])
    rows = rows[rows["user"].isin(profiles.index[profiles["equipment"] != "{}"])]
    for words, group in rows.groupby(rows["user"].map(profiles["equipment"])):
        allowed = catalogue.exercise_key[catalogue.available(kits[words].equipment)]
        assert set(group["exercise_key"]) <= set(allowed.tolist())
    knees = profiles.index[profiles["limitations"] == '[{"area": "knee", "severity": "avoid"}]']
    done = rows.loc[rows["user"].isin(knees), "exercise_key"].unique()
    tags = catalogue.frame.set_index("exercise_key").loc[done, "contraindications"]
    assert len(done) > 20
    assert not tags.str.contains("knee").any()


def test_people_get_stronger_with_plateaus(sets: pd.DataFrame) -> None:
    work = sets[(sets["load_type"] == "external") & (sets["set_type"] != "warmup") & (sets["measured_in"] == "reps")].copy()
    work["e1rm"] = work["weight_kg"] * (1 + work["reps"].clip(1, 12) / 30)
    best = work.groupby(["user", "exercise_key", "started_at"])["e1rm"].max().reset_index()
    long = best.groupby(["user", "exercise_key"])["e1rm"].agg(["size", "first", "last", "max"])
    long = long[long["size"] >= 12]
    gain = long["last"] / long["first"] - 1
    assert len(long) > 1000
    assert 0.02 < gain.median() < 0.2
    assert 0.6 < (gain > 0).mean() < 0.95
    up = best.groupby(["user", "exercise_key"])["e1rm"].diff().dropna() > 0
    assert 0.3 < up.mean() < 0.65  # not every session is better than the last


def test_people_take_breaks_stop_or_never_start(block: Population) -> None:
    workouts = block.frame("workouts")
    counts = workouts.groupby("user").size()
    assert 0.3 < 1 - len(counts) / len(block) < 0.5
    gaps = workouts.groupby("user")["started_at"].diff()
    assert 0.15 < (gaps > timedelta(days=14)).groupby(workouts["user"]).any().mean() < 0.5
    last = workouts.groupby("user")["started_at"].max()
    assert 0.2 < (last < UNTIL - timedelta(days=28)).mean() < 0.6
    assert (gaps.dropna() > timedelta(0)).all()
    assert 0.01 < workouts["deleted_at"].notna().mean() < 0.03
    running = workouts["duration_seconds"] > 6 * 3600
    assert 0.005 < running.mean() < 0.02
    empty = set(range(len(workouts))) - set(block.sets["workout"].tolist())
    assert 0 < len(empty) < 0.02 * len(workouts)
    assert rows_of(block.custom_exercises) > 200


def test_the_dashboard_and_records_are_opened_by_as_many_as_the_story_says(block: Population) -> None:
    active = set(block.workouts["user"].tolist())
    usage = block.frame("usage_events")
    opened = usage.groupby("feature")["user"].nunique() / len(active)
    assert abs(opened["dashboard"] - 0.458) < 0.03
    assert abs(opened["records"] - 0.38) < 0.03
    assert set(usage["user"]) <= active


def test_the_first_workout_flow_follows_what_was_really_done(block: Population, events: pd.DataFrame) -> None:
    flow = events[(events["flow"] == "first_workout") & (events["event_type"] == "completed")]
    first = block.frame("workouts").groupby("user")["started_at"].agg(["min", "max"])
    started = flow[flow["step"] == "workout_started"].set_index("user")
    assert len(started) > 0.97 * len(first)
    assert set(started.index) <= set(first.index)
    assert ((started["occurred_at"] - first["min"].reindex(started.index)).abs() < timedelta(hours=1)).all()
    second = flow[flow["step"] == "second_week"].set_index("user")
    assert (first["max"].reindex(second.index) - first["min"].reindex(second.index) >= timedelta(days=7)).all()
    assert events.loc[events["flow"] == "first_workout", "error_code"].dropna().unique().tolist() == ["sync_failed"]


def test_the_documented_users_are_there_and_active(block: Population) -> None:
    users = block.frame("users")
    assert users["user_id"].tolist()[:3] == ["test_user", "test", "user_000002"]
    assert users["user_id"].is_unique
    assert users["time_zone"].nunique() >= 12
    profiles = block.frame("profiles").set_index("user")
    workouts = block.frame("workouts")
    for user in (0, 1):
        assert profiles.loc[user, "gym_equipment"] is not None
        mine = workouts[(workouts["user"] == user) & workouts["deleted_at"].isna()]
        assert len(mine) > 40
        assert mine["started_at"].max() > UNTIL - timedelta(days=7)


def test_profiles_use_the_vocabulary_and_differ(block: Population) -> None:
    profiles = block.frame("profiles")
    assert profiles["goal"].nunique() == 5
    assert profiles["experience_level"].nunique() == 3
    assert profiles["equipment"].nunique() >= len({kit.equipment for kit in KITS})
    words = set().union(*(set(value.strip("{}").split(",")) for value in profiles["equipment"])) - {""}
    assert words <= set(Equipment)
    assert profiles["limitations"].nunique() > 10
    assert profiles["days_per_week"].between(1, 6).all()
    assert 0.8 < len(profiles) / len(block) < 1


def test_any_length_of_period_can_be_simulated() -> None:
    for months in (0.1, 1, 30):
        (few,) = simulate(40, months, 2, UNTIL)
        assert len(few) == 40
        assert few.frame("users")["created_at"].min() >= UNTIL - timedelta(days=months * 30.4375 + 1)
    assert list(simulate(0, 6, 2, UNTIL)) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"until": None},
        {"until": datetime(2026, 1, 1)},
        {"months": 0},
        {"months": 1000},
        {"users": -1},
        {"block_users": 0},
    ],
)
def test_what_cannot_be_simulated_is_refused_with_a_sentence(arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        simulate(**({"users": 10, "months": 6, "seed": 1, "until": UNTIL} | arguments))


def memory_of(columns: Columns) -> int:
    return sum(column.nbytes for column in columns.values())


def test_a_block_stays_small(block: Population) -> None:
    assert sum(memory_of(getattr(block, table)) for table in TABLES) / len(block) < 40_000


def test_blocks_of_a_single_user_hold_whoever_it_is() -> None:
    blocks = list(simulate(60, 2, 4, UNTIL, block_users=1))
    assert len(blocks) == 60
    assert any(not rows_of(block.workouts) for block in blocks)
    assert any(not rows_of(block.profiles) for block in blocks)
