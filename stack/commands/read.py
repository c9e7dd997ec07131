"""What the platform knows about a user, as tables in the terminal: summary, records, plan; and the onboarding funnel."""

import json
from datetime import UTC, date, datetime
from typing import Annotated, Any

import psycopg
import typer
from rich.markup import escape
from rich.table import Table

from database.connection import Role, connect
from domain.vocabulary import KG_PER_LB, SummaryRange
from stack.commands.context import CommandError, console, current_platform

UserId = Annotated[str, typer.Argument(metavar="USER", help="The app's user id, as in test_user.")]


def register(app: typer.Typer) -> None:
    app.command()(summary)
    app.command()(records)
    app.command()(plan)
    app.command()(funnel)


def summary(
    user: UserId, range: Annotated[SummaryRange | None, typer.Option(help="One range; all of them side by side unless given.")] = None
) -> None:
    """Print a user's progress over the last 7, 30, 90, 365 days and of all time."""
    with connect(current_platform().url(Role.API)) as connection:
        ranges = [range] if range else list(SummaryRange)
        payloads = {each: _payload(connection, user, f"summary/{each}") for each in ranges}
    table = Table(title=escape(user), title_justify="left", box=None, pad_edge=False, collapse_padding=True)  # 80 columns hold five dates
    table.add_column("", no_wrap=True)
    for each in ranges:
        table.add_column(each.value, justify="right")
    for name, label in SUMMARY_ROWS.items():
        table.add_row(label, *(_shown(payloads[each].get(name)) for each in ranges))
    console.print(table)
    muscles = {each: payloads[each].get("setsByMuscle") or {} for each in ranges}
    names = sorted({name for by_muscle in muscles.values() for name in by_muscle})
    if names:
        table = Table(title="\nSets by muscle (indirect work counts half)", title_justify="left", box=None)
        table.add_column("")
        for each in ranges:
            table.add_column(each.value, justify="right")
        for name in names:
            table.add_row(name.replace("_", " "), *(_shown(muscles[each].get(name, 0)) for each in ranges))
        console.print(table)


SUMMARY_ROWS = {
    "workouts": "workouts",
    "activeDays": "active days",
    "trainingMinutes": "minutes",
    "sets": "sets",
    "reps": "reps",
    "volumeKg": "volume, kg",
    "volumeChangePct": "volume change, %",
    "avgRpe": "average RPE",
    "exercises": "exercises",
    "recordEvents": "records improved",
    "currentStreakWeeks": "current streak, weeks",
    "longestStreakWeeks": "longest streak, weeks",
    "plannedSessions": "planned sessions",
    "completedSessions": "completed sessions",
    "adherence": "adherence",
    "lastWorkoutAt": "last workout",
}


def records(user: UserId) -> None:
    """Print a user's personal records."""
    with connect(current_platform().url(Role.API)) as connection:
        payload = _payload(connection, user, "records")
    rows = payload.get("records", [])
    if not rows:
        console.print(f"{user} has no records yet.", markup=False)
        return
    kinds = list(dict.fromkeys(row["recordType"] for row in rows))
    table = Table(title=escape(f"Personal records of {user}"), title_justify="left", box=None, pad_edge=False, collapse_padding=True)
    table.add_column("exercise")
    for kind in kinds:
        table.add_column(kind.replace("_", " "), justify="right", min_width=len("2026-01-31"))
    by_exercise: dict[str, dict[str, Any]] = {}
    for row in rows:
        by_exercise.setdefault(row["exerciseId"], {})[row["recordType"]] = row  # names may be equal: one of the catalogue, one of their own
    for found in sorted(by_exercise.values(), key=lambda found: str(next(iter(found.values()))["exerciseName"])):
        table.add_row(
            escape(next(iter(found.values()))["exerciseName"]),
            *(f"{_shown(found[kind]['value'])}\n[dim]{str(found[kind]['achievedAt'])[:10]}[/]" if kind in found else "" for kind in kinds),
        )
    console.print(table)


def plan(
    user: UserId,
    week: Annotated[int | None, typer.Option(min=1, max=4, help="One week; the one that runs now unless given.")] = None,
    reasons: Annotated[bool, typer.Option(help="Say why, for each exercise.")] = True,
) -> None:
    """Print a user's current training plan, with the reason for every load."""
    from database.plan_documents import current_plan, render  # noqa: PLC0415  # brings pandas: a second and 70 MB that other commands don't need

    with connect(current_platform().url(Role.PIPELINE)) as connection:
        row = current_plan(connection, _user_key(connection, user))
    if row is None:
        raise CommandError(f"{user} has no plan yet: `mesocycle refresh` makes one.")
    found = json.loads(render(user, row))
    if found["refusal"]:
        console.print(f"{user}: no plan. {found['refusal']['sentence']}", markup=False)
        return
    shown = week or _running_week(found)
    chosen = found["weeks"][shown - 1]
    label = " (deload)" if chosen["isDeload"] else ""
    heading = f"{user}: {found['goal'].replace('_', ' ')}, week {shown} of {len(found['weeks'])}{label}, from {found['startsOn']}"
    console.print(heading, markup=False)
    for session in chosen["sessions"]:
        table = Table(
            title=f"{session['date']}  {session['name']}, {session['minutes']} minutes", title_justify="left", box=None, pad_edge=False
        )
        for column in ("exercise", "sets", "reps", "load", "RIR", "rest", *(["why"] if reasons else [])):
            table.add_column(column, justify="left" if column in {"exercise", "why"} else "right")
        for exercise in session["exercises"]:
            low, high = exercise["repsMin"], exercise["repsMax"]
            unit = {"seconds": " s", "meters": " m"}.get(exercise["measuredIn"], "")
            table.add_row(
                escape(exercise["name"]) + (f" [dim]({exercise['supersetGroup']})[/]" if exercise["supersetGroup"] else ""),
                str(exercise["sets"]),
                f"{low}–{high}{unit}" if low != high else f"{low}{unit}",
                _load(exercise["loadKg"], found["weightUnit"]),
                str(exercise["rir"]),
                f"{exercise['restSeconds']} s",
                *([escape(exercise["reason"]["sentence"])] if reasons else []),
            )
        console.print(table)


BAR = 15
"""Characters: with it a funnel fits into a terminal of 80."""

FUNNEL_SQL = """
with counted as (
    select segment, position, step, bool_and(is_required) as is_required, sum(entered)::int as entered, sum(reached)::int as reached,
        sum(completed)::int as completed, sum(dropped)::int as dropped, sum(in_progress)::int as in_progress,
        sum(users_with_errors)::int as users_with_errors
    from marts.onboarding_funnel
    where flow = %(flow)s and grain = 'day' and segment_by = %(segment_by)s
      and flow_version = (select max(flow_version) from marts.onboarding_funnel where flow = %(flow)s)
      and cohort_on between coalesce(%(first)s, '-infinity'::date) and coalesce(%(last)s, 'infinity'::date)
    group by segment, position, step
),
-- Medians don't add up over cohorts: they come from the people themselves.
times as (
    select taken.segment, taken.position, percentile_cont(0.5) within group (order by taken.seconds) as median_seconds
    from (
        select steps.position, steps.seconds_from_previous as seconds,
            case %(segment_by)s
                when 'platform' then journeys.platform
                when 'app_version' then journeys.app_version
                when 'acquisition_channel' then journeys.acquisition_channel
                else '(all)'
            end as segment
        from marts.onboarding_steps as steps
        join marts.onboarding_journeys as journeys
            on journeys.person_key = steps.person_key and journeys.flow = steps.flow and journeys.flow_version = steps.flow_version
        where steps.flow = %(flow)s
          and steps.flow_version = (select max(flow_version) from marts.onboarding_funnel where flow = %(flow)s)
          and journeys.cohort_on between coalesce(%(first)s, '-infinity'::date) and coalesce(%(last)s, 'infinity'::date)
    ) as taken
    group by taken.segment, taken.position
)
select counted.*, times.median_seconds
from counted left join times on times.segment = counted.segment and times.position = counted.position
order by counted.segment, counted.position
"""


def funnel(
    flow: Annotated[str, typer.Option(help="Which flow: onboarding, first_workout or another one of the seed.")] = "onboarding",
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First cohort, a UTC day of entry.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last cohort.")] = None,
    segment: Annotated[str | None, typer.Option(help="Split by platform, app_version or acquisition_channel.")] = None,
) -> None:
    """Print where a flow loses people: a bar for each step, those still on their way apart from those who left."""
    if first and last and first > last:
        raise CommandError(f"--from {first:%Y-%m-%d} lies after --to {last:%Y-%m-%d}.")
    parameters = {
        "flow": flow,
        "segment_by": segment or "(all)",
        "first": first.date() if first else None,
        "last": last.date() if last else None,
    }
    with connect(current_platform().url(Role.ANALYST)) as connection:
        rows = connection.execute(FUNNEL_SQL, parameters).fetchall()
        known = [row[0] for row in connection.execute("select distinct flow from marts.onboarding_funnel order by 1").fetchall()]
    if not rows:
        reason = (
            f"There is no flow {flow!r}; there are: {', '.join(known)}." if flow not in known else "Nobody entered in this time or segment."
        )
        raise CommandError(reason)
    for name in dict.fromkeys(row[0] for row in rows):
        own = [row for row in rows if row[0] == name]
        entered = own[0][4]
        table = Table(
            title=escape(f"{flow}{'' if name == '(all)' else f', {segment} {name}'}: {entered:,} people entered"),
            title_justify="left",
            box=None,
            pad_edge=False,
            collapse_padding=True,
        )
        table.add_column("step", min_width=max(len(row[2]) for row in own), overflow="fold")
        table.add_column("done", no_wrap=True)
        for column in ("people", "of all", "left\nhere", "on their\nway", "with\nerrors", "median\ntime"):
            table.add_column(column, justify="right")
        for _, _, step, is_required, _, _, completed, dropped, in_progress, with_errors, median in own:
            share = completed / entered if entered else 0.0
            table.add_row(
                step if is_required else f"{step} [dim](optional)[/]",
                f"[green]{'█' * round(share * BAR)}[/][dim]{'░' * (BAR - round(share * BAR))}[/]",
                f"{completed:,}",
                f"{share:.1%}",
                f"{dropped:,}" if is_required else "–",
                f"{in_progress:,}" if is_required else "–",
                f"{with_errors:,}",
                _duration(median),
            )
        console.print(table)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _running_week(found: dict[str, Any]) -> int:
    """The week of the plan that holds today, by this machine's calendar; the first or last one outside of it."""
    today = datetime.now(UTC).date()
    elapsed = (today - date.fromisoformat(found["startsOn"])).days // 7
    return min(max(elapsed, 0), len(found["weeks"]) - 1) + 1


def _load(kg: float | None, unit: str) -> str:
    if kg is None:
        return "–"
    return f"{kg / KG_PER_LB:.4g} lb" if unit == "lb" else f"{kg:.4g} kg"


def _user_key(connection: psycopg.Connection, user: str) -> int:
    row = connection.execute("select user_key from app.users where user_id = %s", [user]).fetchone()
    if row is None:
        raise _no_user(user)
    return int(row[0])


def _no_user(user: str) -> CommandError:
    return CommandError(f"There is no user {user!r}. `mesocycle import FILE --user {user}` makes one; test_user is in the sample.")


def _payload(connection: psycopg.Connection, user: str, resource: str) -> dict[str, Any]:
    row = connection.execute(
        """
        select p.payload
        from app.users u left join marts.user_payloads p on p.user_key = u.user_key and p.resource = %s
        where u.user_id = %s
        """,
        [resource, user],
    ).fetchone()
    if row is None:
        raise _no_user(user)
    if row[0] is None:
        raise CommandError(f"{user} came after the last build: `mesocycle refresh`.")
    loaded: dict[str, Any] = json.loads(row[0])
    return loaded


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.1f}" if value % 1 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)[:10] if str(value)[4:5] == "-" else str(value)  # an instant is shown by its day
