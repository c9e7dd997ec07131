"""Exports into `app`: one user's history merged from any number of files, formats and ages, in one transaction per file.

How two exports are the same history: workouts meet by the minute of their local start, or by their local day where one
export knows no times; loads are compared within the rounding of a unit's conversion. An export's age is the start of its
last workout. What a newer export says replaces what an older one said; an older one only adds what no newer one covers.
Two exports of one form (same columns, same unit) are compared to the last digit; of another form, only what differs by more
than a conversion may make of it is another thing, and what it leaves blank it doesn't know.
"""

import hashlib
import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd
import psycopg
from psycopg.types.json import Jsonb

from database.catalogue import publish_catalogue
from domain.exercises.matching import match_names
from domain.exercises.names import name_key
from domain.workout_logs import ParsedLog, WorkoutLogError
from domain.workout_logs.plausibility import LONGEST_WORKOUT_SECONDS
from domain.workout_logs.values import is_assisted

SAME_KG: Final = 0.06
"""Loads this close are one load in two roundings; the smallest plates differ by 0.25 kg."""
SAME_SECONDS: Final = 1.0
SAME_DAY_SHARE: Final = 0.6
"""A day without times is the same as workouts with times when this share of the smaller one's sets is in the other."""
WHOLE_DAY_SHARE: Final = 0.9
SAME_STORED: Final = 1e-6
"""Numbers this close are one number that was stored in single precision."""
ABSENT: Final = "absent"
"""Fingerprint of a workout that a newer export of its app no longer has: deleted or moved there."""
OWN_SOURCES: Final = frozenset({"app", "simulation"})
"""What the app itself recorded is never replaced by an export."""
LONGEST_NAME: Final = 300
MOST_REASONS: Final = 12
MOST_DIGESTS: Final = 10_000
"""Of how many rejected rows an import remembers the digests, to tell a row that can't be read any more from one that never could."""


class UnknownTimeZone(WorkoutLogError):
    """The time zone isn't in the IANA database."""


class UnusableUserId(WorkoutLogError):
    """The user id has no character, more than 128, or control characters."""


@dataclass(frozen=True)
class ImportReport:
    """What one file was and what became of it."""

    file_name: str
    user_id: str
    app: str
    variant: str
    weight_unit: str | None
    time_zone: str
    data_rows: int
    workouts: int
    sets: int
    workouts_new: int = 0
    workouts_updated: int = 0
    workouts_unchanged: int = 0
    workouts_deleted: int = 0
    """In an older export of this app, gone from this newer one."""
    workouts_not_restored: int = 0
    """In this older export, gone from a newer one that is here already."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Rows per reason."""
    rest_rows: int = 0
    note_rows: int = 0
    duplicate_workouts: int = 0
    duplicate_rows: int = 0
    exercises_matched: int = 0
    custom_exercises: int = 0
    custom_exercises_created: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    already_imported: bool = False

    @property
    def changed(self) -> bool:
        """Whether any workout was added, edited or deleted."""
        return bool(self.workouts_new or self.workouts_updated or self.workouts_deleted)

    @property
    def rejected_rows(self) -> int:
        return sum(self.rejected.values())

    def sentence(self) -> str:
        """The report for a person, a few lines without the reasons of rejected rows."""
        found = f"{self.file_name}: {self.variant}. {_many(self.workouts, 'workout')} with {_many(self.sets, 'set')} in {_many(self.data_rows, 'row')}"
        aside = [
            text
            for count, text in (
                (self.rest_rows, _many(self.rest_rows, "rest timer")),
                (self.note_rows, _many(self.note_rows, "note")),
                (self.duplicate_rows, f"{_many(self.duplicate_workouts, 'doubled workout')} ({_many(self.duplicate_rows, 'row')}) merged"),
                (self.rejected_rows, f"{_many(self.rejected_rows, 'row')} rejected"),
            )
            if count
        ]
        lines = [f"{found}{' (' + ', '.join(aside) + ')' if aside else ''}."]
        if self.already_imported:
            lines.append(f"  This file was imported for {self.user_id} before; nothing changed.")
        else:
            done = f"  {self.user_id}: {_many(self.workouts_new, 'workout')} new, {self.workouts_updated:,} updated, {self.workouts_unchanged:,} unchanged"
            if self.workouts_deleted:
                done += f", {self.workouts_deleted:,} deleted because this newer export no longer has them"
            if self.workouts_not_restored:
                done += f", {self.workouts_not_restored:,} not brought back because a newer export no longer has them"
            lines.append(f"{done}. Local times are in {self.time_zone}.")
            created = f" ({len(self.custom_exercises_created):,} new)" if self.custom_exercises_created else ""
            lines.append(f"  Exercise names: {self.exercises_matched:,} in the catalogue, {self.custom_exercises:,} your own{created}.")
        lines += [f"  Note: {warning}" for warning in self.warnings]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Set:
    exercise_key: int
    set_type: str
    weight_kg: float | None
    reps: int | None
    duration_seconds: float | None
    distance_m: float | None
    rpe: float | None
    superset: int | None
    notes: str | None


@dataclass(frozen=True, slots=True)
class _Workout:
    """A workout of the file (key 0) or of the database, with its local start in the zone that its file was read in.

    Where only the day is known, the local start is its noon in the user's own zone.
    """

    key: int
    local: datetime
    started_at: datetime
    has_start_time: bool
    duration_seconds: int | None
    name: str | None
    notes: str | None
    source: str
    export_through: datetime | None
    fingerprint: str | None
    is_deleted: bool
    form: tuple[str, str] | None
    """Of the export that wrote it last."""
    sets: tuple[_Set, ...]

    @property
    def minute(self) -> datetime:
        return self.local.replace(second=0, microsecond=0)

    @property
    def day(self) -> date:
        return self.local.date()


def import_log(
    connection: psycopg.Connection, user_id: str, parsed: ParsedLog, *, timezone: str | None = None, file_name: str | None = None
) -> ImportReport:
    """Merge one export into a user's workouts, in one transaction; the user is made if nobody has this id.

    Local times are read in `timezone` (IANA), else the user's, else UTC; days without times are the user's own. A file that was
    imported before (same bytes, same unit, no other zone asked for) writes nothing at all. Unchanged workouts aren't touched,
    not even their `xid`.

    Raises UnknownTimeZone and UnusableUserId, sentences for the person who asked.
    """
    if not 1 <= len(user_id) <= 128 or any(ord(character) < 32 or 127 <= ord(character) < 160 for character in user_id):
        raise UnusableUserId("A user id has 1 to 128 characters and no control characters.")
    with connection.transaction():
        if timezone is not None:
            timezone = _spelled(connection, timezone)
        return _Import(connection, user_id, parsed, timezone, file_name or parsed.file_name).run()


def _spelled(connection: psycopg.Connection, name: str) -> str:
    """The IANA name that `name` is, however its letters are written."""
    row = connection.execute("select name from app.time_zones where lower(name) = lower(%s)", [name]).fetchone()
    return _zone(row[0] if row else name).key


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # by kind of nonsense: unknown, not a relative path, a folder
        raise UnknownTimeZone(f"{name!r} is no time zone. Use an IANA name such as Europe/Berlin.") from error


class _Import:
    """One file's way into the database."""

    def __init__(self, connection: psycopg.Connection, user_id: str, parsed: ParsedLog, timezone: str | None, file_name: str) -> None:
        self.connection = connection
        self.user_id = user_id
        self.parsed = parsed
        self.asked_zone = timezone
        self.file_name = file_name
        self.source = parsed.app.value
        self.sha256 = bytes.fromhex(parsed.content_hash)

    def run(self) -> ImportReport:
        self.user_key, user_zone = self._user()
        before = self.connection.execute(
            "select import_key, weight_unit, time_zone from app.imports where user_key = %s and file_sha256 = %s",
            [self.user_key, self.sha256],
        ).fetchone()
        self.zone_name = self.asked_zone or (before[2] if before else user_zone)
        self.zone = _zone(self.zone_name)
        report = self._blank_report()
        if before and before[1] == self.parsed.weight_unit and before[2] == self.zone_name:
            return replace(report, already_imported=True, workouts_unchanged=report.workouts)
        matched, customs, created = self._exercises()
        report = replace(report, exercises_matched=matched, custom_exercises=customs, custom_exercises_created=tuple(created))
        incoming = self._incoming()
        self.through = max((workout.local for workout in incoming), default=None)
        existing = self._existing()
        self.import_key = self._import_row(before[0] if before else None)
        self._write_rejected(is_again=before is not None)
        others = self._other_imports()
        plan = _Plan(self.source, self.through, self._known_throughs(), moves_starts=self.asked_zone is not None)
        plan.merge(existing, incoming)
        own = _Export(incoming[0].local if incoming else None, self.through, _digests(self.parsed.rejected))
        if own.rejects_nothing_new(others):
            plan.find_deleted(existing, incoming)
        plan.leave_deleted(incoming, [other for other in others if own.is_older_than(other) and other.rejects_nothing_new([own, *others])])
        self._apply(plan)
        report = replace(
            report,
            workouts_new=len(plan.new),
            workouts_updated=len(plan.updated),
            workouts_unchanged=len(incoming) - len(plan.new) - len(plan.updated) - len(plan.not_restored),
            workouts_deleted=len(plan.deleted),
            workouts_not_restored=len(plan.not_restored),
        )
        self._store_report(report, own, plan)
        return report

    # -- reading -------------------------------------------------------------------------------------------------------

    def _user(self) -> tuple[int, str]:
        """Key and time zone; the row stays locked until the end, so that two imports for one user come one after the other."""
        query = "select user_key, time_zone from app.users where user_id = %s for update"
        row = self.connection.execute(query, [self.user_id]).fetchone()
        if row is None:
            self.connection.execute(
                "insert into app.users (user_id, time_zone) values (%s, %s) on conflict (user_id) do nothing",
                [self.user_id, self.asked_zone or "UTC"],
            )
            row = self.connection.execute(query, [self.user_id]).fetchone()
        assert row is not None
        return row[0], row[1]

    def _blank_report(self) -> ImportReport:
        log = self.parsed
        return ImportReport(
            file_name=self.file_name,
            user_id=self.user_id,
            app=self.source,
            variant=log.variant,
            weight_unit=log.weight_unit,
            time_zone=self.zone_name,
            data_rows=log.data_rows,
            workouts=len(log.workouts),
            sets=len(log.sets),
            rejected=_count_reasons(log.rejected["reason"].tolist()),
            rest_rows=log.rest_rows,
            note_rows=log.note_rows,
            duplicate_workouts=log.duplicate_workouts,
            duplicate_rows=log.duplicate_rows,
            warnings=log.warnings,
        )

    def _exercises(self) -> tuple[int, int, list[str]]:
        """Give every exercise name of the file its key, making custom exercises for unknown ones.

        Returns how many names are in the catalogue, how many are custom, and the names of the new custom ones.
        """
        sets = self.parsed.sets
        summary = (
            sets.assign(has_reps=sets["reps"].notna(), has_time=sets["duration_seconds"].notna(), has_distance=sets["distance_m"].notna())
            .groupby(["exercise_name", "equipment_hint"], dropna=False, sort=False)[["has_reps", "has_time", "has_distance"]]
            .any()
            .reset_index()
        )
        hints = [None if pd.isna(hint) else str(hint) for hint in summary["equipment_hint"]]
        names = [str(name) for name in summary["exercise_name"]]
        found = match_names(names, hints)
        keys: dict[tuple[str, str | None], int] = {}
        wanted = sorted(set(found.dropna().tolist()))
        published = {
            row[0] for row in self.connection.execute("select exercise_key from app.exercises where exercise_key = any(%s)", [wanted])
        }
        if published != set(wanted):
            publish_catalogue(self.connection)
        customs = {
            _custom_identity(name): key
            for key, name in self.connection.execute(
                "select exercise_key, name from app.exercises where user_key = %s order by exercise_key desc", [self.user_key]
            )
        }
        missing: dict[object, tuple[str, str, str]] = {}
        of_custom: dict[tuple[str, str | None], object] = {}
        assisted: set[object] = set()
        measures = _rows(summary)
        for measure, name, hint, key in zip(measures, names, hints, found.astype(object).where(found.notna(), None), strict=True):
            if key is not None:
                keys[name, hint] = key
                continue
            full_name = (f"{name} ({hint})" if hint and hint.casefold() not in name.casefold() else name)[:LONGEST_NAME]
            identity = _custom_identity(full_name)
            of_custom[name, hint] = identity
            if is_assisted(full_name):
                assisted.add(identity)
            if identity not in customs and identity not in missing:
                measured_in = "reps"
                if not measure["has_reps"]:
                    measured_in = "seconds" if measure["has_time"] else "meters"
                missing[identity] = (full_name, measured_in, "assisted" if identity in assisted else "external")
        if missing:
            rows = self.connection.execute(
                """
                insert into app.exercises (exercise_id, user_key, name, measured_in, load_type)
                select * from unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[])
                returning exercise_key, name
                """,
                [
                    [_slug(name) for name, _, _ in missing.values()],
                    [self.user_key] * len(missing),
                    [name for name, _, _ in missing.values()],
                    [measured_in for _, measured_in, _ in missing.values()],
                    [load_type for _, _, load_type in missing.values()],
                ],
            ).fetchall()
            customs.update({_custom_identity(name): key for key, name in rows})
        if assisted:
            # Of names that earlier versions didn't understand.
            self.connection.execute(
                "update app.exercises set load_type = 'assisted' where load_type = 'external' and exercise_key = any(%s)",
                [[customs[identity] for identity in assisted]],
            )
        keys.update({pair: customs[identity] for pair, identity in of_custom.items()})
        self.exercise_keys = keys
        return len(names) - len(of_custom), len(of_custom), [name for name, _, _ in missing.values()]

    def _incoming(self) -> list[_Workout]:
        """The file's workouts, oldest first, with instants and exercise keys."""
        sets_of: dict[int, list[_Set]] = defaultdict(list)
        for row in _rows(self.parsed.sets):
            sets_of[row["workout_index"]].append(
                _Set(
                    exercise_key=self.exercise_keys[row["exercise_name"], row["equipment_hint"]],
                    set_type=row["set_type"],
                    weight_kg=row["weight_kg"],
                    reps=row["reps"],
                    duration_seconds=row["duration_seconds"],
                    distance_m=row["distance_m"],
                    rpe=row["rpe"],
                    superset=_small_integer(row["superset"]),
                    notes=row["notes"],
                )
            )
        rows = _rows(self.parsed.workouts)
        noons = self._noons({row["started_at_local"].date() for row in rows if not row["has_time"]})
        workouts = []
        for row in rows:
            wall = row["started_at_local"].to_pydatetime()
            if not row["has_time"]:
                local, started_at = datetime.combine(wall, time(12)), noons[wall.date()]
            else:
                if row["started_at_utc"] is not None:
                    started_at = row["started_at_utc"].to_pydatetime().astimezone(UTC)
                else:
                    started_at = wall.replace(tzinfo=self.zone).astimezone(UTC)
                # Back from UTC: a wall time that the clock change skipped becomes the one that was on the clock.
                local = started_at.astimezone(self.zone).replace(tzinfo=None)
            duration = row["duration_seconds"]
            if row["ended_at_local"] is not None:
                duration = _seconds_until(row["ended_at_local"].to_pydatetime(), started_at, self.zone)
            workouts.append(
                _Workout(
                    key=0,
                    local=local,
                    started_at=started_at,
                    has_start_time=row["has_time"],
                    duration_seconds=duration,
                    name=row["name"],
                    notes=row["notes"],
                    source=self.source,
                    export_through=None,
                    fingerprint=None,
                    is_deleted=False,
                    form=_form(self.parsed.variant, self.parsed.weight_unit),
                    sets=tuple(sets_of[row["workout_index"]]),
                )
            )
        workouts.sort(key=lambda workout: workout.started_at)
        return workouts

    def _noons(self, days: Iterable[date]) -> dict[date, datetime]:
        """Noon of each day in the user's zone: the marts tell the date of a workout by that zone, in Postgres's reading of its name."""
        rows = self.connection.execute(
            """
            select day, (day + time '12:00') at time zone u.time_zone
            from app.users u, unnest(%s::date[]) as day
            where u.user_key = %s
            """,
            [sorted(days), self.user_key],
        )
        return {day: noon.astimezone(UTC) for day, noon in rows}

    def _existing(self) -> list[_Workout]:
        sets_of: dict[int, list[_Set]] = defaultdict(list)
        rows = self.connection.execute(
            """
            select s.workout_key, s.exercise_key, s.set_type, s.weight_kg, s.reps, s.duration_seconds, s.distance_m, s.rpe, s.superset, s.notes
            from app.workout_sets s
            join app.workouts w using (workout_key)
            where w.user_key = %s
            order by s.workout_key, s.position
            """,
            [self.user_key],
        )
        for key, *columns in rows:
            sets_of[key].append(_Set(*columns))
        return [
            _Workout(
                key=key,
                local=own_local or started_at.astimezone(_zone(zone)).replace(tzinfo=None),
                started_at=started_at.astimezone(UTC),
                has_start_time=has_start_time,
                duration_seconds=duration,
                name=name,
                notes=notes,
                source=source,
                export_through=through,
                fingerprint=fingerprint,
                is_deleted=is_deleted,
                form=_form(variant, unit),
                sets=tuple(sets_of[key]),
            )
            for (
                key,
                started_at,
                own_local,
                zone,
                has_start_time,
                duration,
                name,
                notes,
                source,
                through,
                fingerprint,
                is_deleted,
                variant,
                unit,
            ) in self.connection.execute(
                """
                select w.workout_key, w.started_at, case when not w.has_start_time then w.started_at at time zone u.time_zone end,
                  coalesce(i.time_zone, u.time_zone), w.has_start_time, w.duration_seconds, w.name, w.notes, w.source, w.export_through,
                  w.content_fingerprint, w.deleted_at is not null, i.variant, i.weight_unit
                from app.workouts w
                join app.users u using (user_key)
                left join app.imports i using (import_key)
                where w.user_key = %s
                order by w.started_at, w.workout_key
                """,
                [self.user_key],
            )
        ]

    def _known_throughs(self) -> dict[int, datetime]:
        """The newest export that had each workout and found it unchanged: it vouches for the state without touching the row."""
        rows = self.connection.execute(
            """
            select key::bigint, max(export_through)
            from app.imports, jsonb_array_elements_text(report -> 'unchanged_workout_keys') as key
            where user_key = %s and export_through is not null
            group by 1
            """,
            [self.user_key],
        )
        return dict(rows.fetchall())

    def _other_imports(self) -> list["_Export"]:
        """The imports of this user and app before this one."""
        rows = self.connection.execute(
            """
            select (report ->> 'first_workout_at')::timestamp, export_through, report -> 'rejected_digests',
              coalesce((report ->> 'rejected_rows')::integer, 0)
            from app.imports
            where user_key = %s and source = %s and import_key <> %s
            """,
            [self.user_key, self.source, self.import_key],
        )
        return [
            _Export(first, through, Counter(digests) if digests is not None else Counter() if rejected == 0 else None)
            for first, through, digests, rejected in rows
        ]

    # -- writing -------------------------------------------------------------------------------------------------------

    def _import_row(self, import_key: int | None) -> int:
        values: list[Any] = [
            self.file_name,
            self.source,
            self.parsed.variant,
            self.parsed.weight_unit,
            self.zone_name,
            self.through,
            Jsonb({}),
        ]
        if import_key is not None:
            self.connection.execute(
                """
                update app.imports set file_name = %s, source = %s, variant = %s, weight_unit = %s, time_zone = %s, export_through = %s,
                  report = %s, imported_at = now()
                where import_key = %s
                """,
                [*values, import_key],
            )
            return import_key
        row = self.connection.execute(
            """
            insert into app.imports (file_name, source, variant, weight_unit, time_zone, export_through, report, user_key, file_sha256)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s) returning import_key
            """,
            [*values, self.user_key, self.sha256],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _write_rejected(self, *, is_again: bool) -> None:
        """Keep the rows that can't be used, each once, however many exports repeat it."""
        if is_again:
            self.connection.execute("delete from app.rejected_rows where import_key = %s", [self.import_key])
        if self.parsed.rejected.empty:
            return
        known = Counter(
            row[0]
            for row in self.connection.execute(
                "select raw_text from app.rejected_rows where user_key = %s and source = %s", [self.user_key, self.source]
            )
        )
        fresh = []
        for rejected in _rows(self.parsed.rejected):
            text = rejected["raw_text"]
            if known[text] > 0:
                known[text] -= 1
            else:
                fresh.append((self.source, self.user_key, self.import_key, self.file_name, rejected["line"], text, rejected["reason"]))
        _copy(self.connection, "app.rejected_rows (source, user_key, import_key, file_name, line, raw_text, reason)", fresh)

    def _apply(self, plan: "_Plan") -> None:
        if plan.new:
            keys = [
                row[0]
                for row in self.connection.execute(
                    "select nextval(pg_get_serial_sequence('app.workouts', 'workout_key')) from generate_series(1, %s)", [len(plan.new)]
                )
            ]
            new = [replace(workout, key=key) for key, workout in zip(keys, plan.new, strict=True)]
            _copy(
                self.connection,
                "app.workouts (workout_key, user_key, started_at, duration_seconds, has_start_time, source, name, notes, import_key, "
                "export_through, content_fingerprint)",
                (
                    (w.key, self.user_key, w.started_at, w.duration_seconds, w.has_start_time, w.source, w.name, w.notes, self.import_key,
                     self.through, _fingerprint(w.sets))
                    for w in new
                ),
            )  # fmt: skip
            self._copy_sets(new)
        if plan.updated:
            self.connection.execute(
                """
                create temporary table changed_workouts (
                  workout_key bigint, started_at timestamptz, duration_seconds integer, has_start_time boolean, source text, name text,
                  notes text, content_fingerprint text
                ) on commit drop
                """
            )
            _copy(
                self.connection,
                "changed_workouts",
                (
                    (w.key, w.started_at, w.duration_seconds, w.has_start_time, w.source, w.name, w.notes, _fingerprint(w.sets))
                    for w in plan.updated
                ),
            )
            self.connection.execute(
                """
                update app.workouts w set
                  started_at = c.started_at, duration_seconds = c.duration_seconds, has_start_time = c.has_start_time, source = c.source,
                  name = c.name, notes = c.notes, content_fingerprint = c.content_fingerprint, import_key = %s, export_through = %s,
                  deleted_at = null, updated_at = now()
                from changed_workouts c
                where c.workout_key = w.workout_key
                """,
                [self.import_key, self.through],
            )
            self.connection.execute("drop table changed_workouts")
            self.connection.execute("delete from app.workout_sets where workout_key = any(%s)", [[w.key for w in plan.updated]])
            self._copy_sets(plan.updated)
        if plan.deleted:
            self.connection.execute(
                """
                update app.workouts set deleted_at = now(), updated_at = now(), content_fingerprint = %s, import_key = %s, export_through = %s
                where workout_key = any(%s)
                """,
                [ABSENT, self.import_key, self.through, [w.key for w in plan.deleted]],
            )

    def _copy_sets(self, workouts: Iterable[_Workout]) -> None:
        _copy(
            self.connection,
            "app.workout_sets (workout_key, position, exercise_key, set_type, weight_kg, reps, duration_seconds, distance_m, rpe, superset, notes)",
            (
                (
                    w.key,
                    position,
                    s.exercise_key,
                    s.set_type,
                    s.weight_kg,
                    s.reps,
                    s.duration_seconds,
                    s.distance_m,
                    s.rpe,
                    s.superset,
                    s.notes,
                )
                for w in workouts
                for position, s in enumerate(w.sets)
            ),
        )

    def _store_report(self, report: ImportReport, own: "_Export", plan: "_Plan") -> None:
        details = {
            "data_rows": report.data_rows,
            "workouts": report.workouts,
            "sets": report.sets,
            "workouts_new": report.workouts_new,
            "workouts_updated": report.workouts_updated,
            "workouts_unchanged": report.workouts_unchanged,
            "workouts_deleted": report.workouts_deleted,
            "workouts_not_restored": report.workouts_not_restored,
            "rejected_rows": report.rejected_rows,
            "rejected": dict(report.rejected),
            "rest_rows": report.rest_rows,
            "note_rows": report.note_rows,
            "duplicate_workouts": report.duplicate_workouts,
            "duplicate_rows": report.duplicate_rows,
            "exercises_matched": report.exercises_matched,
            "custom_exercises": report.custom_exercises,
            "custom_exercises_created": list(report.custom_exercises_created),
            "warnings": list(report.warnings),
            "first_workout_at": own.first.isoformat() if own.first else None,
            "rejected_digests": None if own.rejected is None else sorted(own.rejected.elements()),
            "unchanged_workout_keys": sorted(plan.unchanged_keys),
        }
        self.connection.execute("update app.imports set report = %s where import_key = %s", [Jsonb(details), self.import_key])


@dataclass(frozen=True)
class _Export:
    """What one export of an app's history tells: its first and last local start, and digests of the rows that couldn't be used."""

    first: datetime | None
    through: datetime | None
    rejected: Counter[str] | None
    """None where they aren't known."""

    def is_older_than(self, other: "_Export") -> bool:
        return self.through is not None and other.through is not None and self.through < other.through

    def rejects_nothing_new(self, others: Iterable["_Export"]) -> bool:
        """Whether no other, older export could read what this one can't: such a row would look like a workout that was deleted."""
        if self.rejected is None:
            return False
        known: Counter[str] = Counter()
        for other in others:
            if other is not self and other.rejected and not self.is_older_than(other):
                known |= other.rejected
        return self.rejected <= known


class _Plan:
    """What to write: pure decisions about an export's workouts against those that are there."""

    def __init__(self, source: str, through: datetime | None, known_throughs: Mapping[int, datetime], *, moves_starts: bool) -> None:
        self.moves_starts = moves_starts
        self.source = source
        self.through = through
        self.known_throughs = known_throughs
        self.new: list[_Workout] = []
        self.updated: list[_Workout] = []
        self.unchanged_keys: set[int] = set()
        self.deleted: list[_Workout] = []
        self.not_restored: list[_Workout] = []
        self.met: set[int] = set()
        """Keys of workouts in the database that the export has too."""

    def merge(self, existing: Sequence[_Workout], incoming: Sequence[_Workout]) -> None:
        has_types = any(one.set_type != "normal" for workout in incoming for one in workout.sets)
        left = self._meet_by_start(existing, incoming, has_types=has_types)
        by_day: dict[date, list[_Workout]] = defaultdict(list)
        for workout in existing:
            if workout.key not in self.met and not workout.is_deleted:
                by_day[workout.day].append(workout)
        timed_by_day: dict[date, list[_Workout]] = defaultdict(list)
        for workout in left:
            if workout.has_start_time:
                timed_by_day[workout.day].append(workout)
            else:
                self._meet_day(workout, [w for w in by_day[workout.day] if w.has_start_time and w.key not in self.met])
        for day, workouts in timed_by_day.items():
            self._meet_untimed(workouts, [w for w in by_day[day] if not w.has_start_time and w.key not in self.met])

    def _meet_by_start(self, existing: Sequence[_Workout], incoming: Sequence[_Workout], *, has_types: bool) -> list[_Workout]:
        """Pair workouts of the same local minute (or day, where neither has a time) or the same instant; returns the unpaired."""
        by_start: dict[object, list[_Workout]] = defaultdict(list)
        for workout in existing:
            if workout.has_start_time:
                by_start[workout.minute].append(workout)
                by_start[workout.started_at.replace(second=0, microsecond=0)].append(workout)
            else:
                by_start[workout.day].append(workout)
        left: list[_Workout] = []
        for workout in incoming:
            start: object = workout.minute if workout.has_start_time else workout.day
            instant: object = workout.started_at.replace(second=0, microsecond=0)
            candidates = [w for w in (by_start.get(start) or []) if w.key not in self.met]
            if not candidates and workout.has_start_time:
                candidates = [w for w in (by_start.get(instant) or []) if w.key not in self.met]
            if not candidates:
                left.append(workout)
                continue
            partner = max(candidates, key=lambda w: (_share(w.sets, workout.sets), not w.is_deleted))
            self.met.add(partner.key)
            self._settle(partner, workout, has_types=has_types)
        return left

    def _settle(self, old: _Workout, new: _Workout, *, has_types: bool) -> None:
        """One workout in two exports: the newer state stays; equal content isn't touched."""
        if old.source in OWN_SOURCES or (old.is_deleted and old.fingerprint != ABSENT) or self._is_older_than(old):
            self._leave(old)
            return
        if old.is_deleted:
            self.updated.append(replace(new, key=old.key))
            return
        if old.form is not None and old.form == new.form:
            in_another_zone = abs(new.started_at - old.started_at) >= timedelta(minutes=1)
            told = replace(new, key=old.key, started_at=old.started_at if in_another_zone and not self.moves_starts else new.started_at)
            if _tell_the_same(old, told):
                self._leave(old)
            else:
                self.updated.append(told)
            return
        same_source = old.source == new.source
        if _same_content(old.sets, new.sets, in_order=same_source):
            enriched = old
            if _same_content(old.sets, new.sets, in_order=True):
                enriched = _enrich(old, new, has_types=has_types or same_source)
            if (
                self.moves_starts
                and old.has_start_time
                and new.has_start_time
                and abs(new.started_at - old.started_at) >= timedelta(minutes=1)
            ):
                enriched = replace(enriched, started_at=new.started_at)
            if enriched == old:
                self._leave(old)
            else:
                self.updated.append(enriched)
            return
        self.updated.append(
            replace(
                new,
                key=old.key,
                name=new.name or old.name,
                notes=new.notes or old.notes,
                duration_seconds=old.duration_seconds if new.duration_seconds is None else new.duration_seconds,
            )
        )

    def _meet_day(self, day: _Workout, timed: Sequence[_Workout]) -> None:
        """A day without times among workouts with times: the same history, told with less detail, if the sets agree."""
        if not timed or _share(day.sets, [one for w in timed for one in w.sets]) < SAME_DAY_SHARE:
            self.new.append(day)
            return
        only = timed[0]
        is_newer = self.through is not None and all(self.through > self._through_of(w) for w in timed)
        if len(timed) == 1 and is_newer and only.source not in OWN_SOURCES and not _same_content(only.sets, day.sets, in_order=False):
            self.met.add(only.key)
            self.updated.append(replace(only, sets=day.sets, source=day.source))
            return
        self.met.update(w.key for w in timed)
        self._leave(*timed)

    def _meet_untimed(self, timed: Sequence[_Workout], days: Sequence[_Workout]) -> None:
        """Workouts with times on a day that was imported without: they give it its times if together they hold its sets."""
        day = days[0] if days else None
        belonging = [w for w in timed if day is not None and _share(w.sets, day.sets) >= SAME_DAY_SHARE]
        if day is None or not belonging:
            self.new.extend(timed)
            return
        self.met.add(day.key)
        self.new.extend(w for w in timed if w not in belonging)
        together = [one for w in belonging for one in w.sets]
        holds_all = _common(together, day.sets) >= WHOLE_DAY_SHARE * len(day.sets)
        if (
            day.source in OWN_SOURCES
            or not holds_all
            or (self._is_older_than(day) and not _same_content(day.sets, together, in_order=False))
        ):
            self._leave(day)
            return
        self.updated.append(replace(belonging[0], key=day.key, notes=belonging[0].notes or day.notes))
        self.new.extend(belonging[1:])

    def find_deleted(self, existing: Sequence[_Workout], incoming: Sequence[_Workout]) -> None:
        """Workouts that this app's older exports had and this newer one lacks within its span: deleted or moved in the app.

        Only when nearly all others are in both: otherwise these are two histories, and nothing says that one replaces the other.
        """
        if not incoming or self.through is None:
            return
        first = incoming[0].local
        inside = [
            w
            for w in existing
            if w.source == self.source and not w.is_deleted and first <= w.local <= self.through and not self._is_older_than(w)
        ]
        gone = [w for w in inside if w.key not in self.met]
        if _is_one_history(len(inside) - len(gone), len(gone)):
            self.deleted = gone

    def leave_deleted(self, incoming: Sequence[_Workout], newer: Iterable[_Export]) -> None:
        """Workouts of this older export that a newer one, of the same history, no longer has: they aren't brought back."""
        for export in newer:
            first, last = export.first, export.through
            if first is None or last is None:
                continue
            gone = [w for w in self.new if first <= w.local <= last]
            inside = sum(1 for w in incoming if first <= w.local <= last)
            if gone and _is_one_history(inside - len(gone), len(gone)):
                self.not_restored.extend(gone)
                self.new = [w for w in self.new if w not in gone]

    def _leave(self, *workouts: _Workout) -> None:
        self.unchanged_keys.update(w.key for w in workouts if not w.is_deleted and not self._is_older_than(w))

    def _through_of(self, workout: _Workout) -> datetime:
        return max(workout.export_through or datetime.min, self.known_throughs.get(workout.key, datetime.min))  # noqa: DTZ901 - wall times

    def _is_older_than(self, workout: _Workout) -> bool:
        return self.through is None or self.through < self._through_of(workout)


def _seconds_until(wall_end: datetime, started_at: datetime, zone: ZoneInfo) -> int | None:
    """Seconds that passed until a wall time, None if it lies before the start or the app was left running.

    An end in the hour that the clock repeats is its first run, or its second where the first lies before the start.
    """
    for fold in (0, 1):
        seconds = (wall_end.replace(tzinfo=zone, fold=fold).astimezone(UTC) - started_at).total_seconds()
        if seconds >= 0:
            return round(seconds) if seconds <= LONGEST_WORKOUT_SECONDS else None
    return None


def _is_one_history(common: int, gone: int) -> bool:
    return gone > 0 and common >= gone and gone <= max(1, (common + gone) // 5)


def _form(variant: str | None, unit: str | None) -> tuple[str, str] | None:
    """Variant and unit of an export, by which two of them write the same number alike; None where no export or each row says the unit."""
    return None if variant is None or unit is None or unit == "per row" else (variant, unit)


def _tell_the_same(one: _Workout, other: _Workout) -> bool:
    """Whether nothing that is stored differs."""
    return (
        (one.started_at, one.has_start_time, one.duration_seconds, one.name, one.notes)
        == (other.started_at, other.has_start_time, other.duration_seconds, other.name, other.notes)
        and len(one.sets) == len(other.sets)
        and all(a == b or all(map(_is_stored_as, astuple(a), astuple(b))) for a, b in zip(one.sets, other.sets, strict=True))
    )


def _is_stored_as(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=SAME_STORED)
    return bool(one == other)


def _digests(rejected: pd.DataFrame) -> Counter[str] | None:
    """Of rejected rows' texts; None where they are too many to remember with the import."""
    if len(rejected) > MOST_DIGESTS:
        return None
    return Counter(hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12] for text in rejected["raw_text"])


def _same_set(one: _Set, other: _Set) -> bool:
    """Equal in what every app logs, within roundings; a missing load is zero, a missing distance is unknown."""
    return (
        one.exercise_key == other.exercise_key
        and (one.reps or 0) == (other.reps or 0)
        and abs((one.weight_kg or 0.0) - (other.weight_kg or 0.0)) <= SAME_KG
        and abs((one.duration_seconds or 0.0) - (other.duration_seconds or 0.0)) <= SAME_SECONDS
        and (not one.distance_m or not other.distance_m or math.isclose(one.distance_m, other.distance_m, rel_tol=0.01, abs_tol=10))
    )


def _same_content(some: Sequence[_Set], others: Sequence[_Set], *, in_order: bool) -> bool:
    if len(some) != len(others):
        return False
    if all(map(_same_set, some, others)):
        return True
    if in_order:
        return False
    left = list(others)
    for one in some:
        found = next((index for index, other in enumerate(left) if _same_set(one, other)), None)
        if found is None:
            return False
        left.pop(found)
    return True


def _common(some: Sequence[_Set], others: Sequence[_Set]) -> int:
    """How many sets are in both, by reps, load and time: two apps may name an exercise differently."""
    loads: dict[tuple[int, int], list[float]] = defaultdict(list)
    for other in others:
        loads[other.reps or 0, round(other.duration_seconds or 0)].append(other.weight_kg or 0.0)
    for group in loads.values():
        group.sort()
    common = 0
    for one in some:
        group = loads[one.reps or 0, round(one.duration_seconds or 0)]
        load = one.weight_kg or 0.0
        at = bisect_left(group, load - SAME_KG)
        if at < len(group) and group[at] <= load + SAME_KG:
            group.pop(at)
            common += 1
    return common


def _share(some: Sequence[_Set], others: Sequence[_Set]) -> float:
    smaller = min(len(some), len(others))
    return _common(some, others) / smaller if smaller else 0.0


def _enrich(old: _Workout, new: _Workout, *, has_types: bool) -> _Workout:
    """The old workout with what the new export knows besides loads and repetitions; nothing known is erased.

    Of another app's export only what was unknown is taken: names and notes of the same workout differ between apps.
    """
    same_source = old.source == new.source

    def pick(before: Any, after: Any) -> Any:
        return after if after is not None and (before is None or same_source) else before

    sets = tuple(
        replace(
            before,
            set_type=after.set_type if has_types else before.set_type,
            rpe=before.rpe if after.rpe is None else after.rpe,
            superset=pick(before.superset, after.superset),
            notes=pick(before.notes, after.notes),
            distance_m=before.distance_m or after.distance_m,
        )
        for before, after in zip(old.sets, new.sets, strict=True)
    )
    duration = old.duration_seconds
    if new.duration_seconds is not None and (duration is None or (same_source and abs(new.duration_seconds - duration) >= 60)):
        duration = new.duration_seconds
    return replace(
        old,
        sets=sets,
        duration_seconds=duration,
        name=pick(old.name, new.name),
        notes=pick(old.notes, new.notes),
    )


def _fingerprint(sets: Sequence[_Set]) -> str:
    """Of exercises, loads (to 0.1 kg), repetitions, times and distances in their order."""
    text = "|".join(
        f"{s.exercise_key},{s.reps or 0},{(s.weight_kg or 0.0):.1f},{(s.duration_seconds or 0.0):.0f},{(s.distance_m or 0.0):.0f}"
        for s in sets
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _custom_identity(name: str) -> object:
    """Spellings of one custom exercise's name share it; a name without letters (emoji) is itself."""
    return name_key(name) or name.casefold()


def _slug(name: str) -> str:
    return "custom_" + (re.sub(r"[^\w]+", "_", name.casefold()).strip("_") or hashlib.sha256(name.encode()).hexdigest()[:12])


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _count_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Rows per reason, most first; where the reasons are too many to read, without the values that they quote."""
    counts = Counter(reasons)
    if len(counts) > MOST_REASONS:
        general: Counter[str] = Counter()
        for reason, count in counts.items():
            general[re.sub(r"“[^”]*”", "“…”", reason)] += count
        counts = general
    return dict(counts.most_common())


def _small_integer(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,4}", text) else None


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as Python values, None for missing ones."""
    columns = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _copy(connection: psycopg.Connection, target: str, rows: Iterable[Sequence[Any]]) -> None:
    """COPY rows into a table (`target` names table and columns; never text from outside)."""
    with connection.cursor() as cursor, cursor.copy(f"copy {target} from stdin") as copy:
        for row in rows:
            copy.write_row(row)
