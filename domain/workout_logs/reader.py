"""Exports of Strong, Hevy and FitNotes in all their variants, read into canonical workouts and sets."""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd

from domain.vocabulary import KG_PER_LB, SetType, WeightUnit, WorkoutSource
from domain.workout_logs import values
from domain.workout_logs.columns import Column, Role, detect_app, for_app, language_of, plain, recognise
from domain.workout_logs.dates import Instant, NotADate, days_come_first, read_instant
from domain.workout_logs.errors import EmptyFile, UnknownFormat, WeightUnitMissing
from domain.workout_logs.plausibility import (
    LONGEST_SET_METERS,
    LONGEST_SET_SECONDS,
    LONGEST_WORKOUT_SECONDS,
    MOST_REPS,
    most_kg,
)
from domain.workout_logs.records import SEPARATORS, Layout, Record, decode, read_records, split_fields, unify, unwrap

_HEADER_SEARCH_LINES: Final = 15
_T = TypeVar("_T")


@dataclass(frozen=True)
class ParsedLog:
    """An export in canonical form. Every data row of the file is in exactly one of: `sets`, `rejected`, `rest_rows`,
    `note_rows`, `repeated_header_rows`, `duplicate_rows`.

    workouts: one row per workout that has a set, in file order: workout_index (int64), started_at_local (wall time as
    written; of a file with offsets, see started_at_utc), started_at_utc (aware, only where the file names an offset),
    ended_at_local (wall time; only where this alone tells the duration, which then depends on the zone's clock changes),
    has_time (False where it names only the day), name, notes (null if none), duration_seconds (Int64, null if unknown, over
    six hours, or told by ended_at_local).

    sets: one row per set: workout_index, position (0.. within the workout, in file order), exercise_name, equipment_hint,
    set_type (SetType values), weight_kg (float, null for no load), reps (Int64), duration_seconds (float), distance_m
    (float), rpe (1–10), notes, superset, line (physical line on which the row starts, 1 = first of the file).

    rejected: line, raw_text, reason (a sentence's end, for a person), one row per unusable row.
    """

    app: WorkoutSource
    variant: str
    weight_unit: str | None
    """`kg`, `lb`, `per row` (a unit stands beside each weight) or None (the file has no weights)."""
    file_name: str
    content_hash: str
    """SHA-256 of the file, hexadecimal."""
    workouts: pd.DataFrame
    sets: pd.DataFrame
    rejected: pd.DataFrame
    data_rows: int
    rest_rows: int
    note_rows: int
    repeated_header_rows: int
    duplicate_workouts: int
    duplicate_rows: int
    warnings: tuple[str, ...]


def read_log(content: bytes, *, file_name: str, weight_unit: WeightUnit | None = None) -> ParsedLog:
    """Read one export; app and variant are told from its content.

    `weight_unit` is for files that name no unit. A file that does name one keeps it, and `warnings` say so if the two
    differ: one command may import several files. Rows that can't be used are in `rejected` and stop nothing.

    Raises EmptyFile, UnknownFormat, WeightUnitMissing: sentences for the person who sent the file.
    """
    text = decode(content, file_name=file_name)
    lines = unwrap(text.split("\n"))
    header_line, separator, headers = _find_header(lines, file_name=file_name)
    columns = recognise(headers)
    app = detect_app(columns)
    assert app is not None  # _find_header looks for exactly that
    columns = for_app(columns, app)
    records, unreadable = _read_rows(lines, header_line, separator, headers, columns)
    repeated = [record for record in records if record.fields == headers]
    records = [record for record in records if record.fields != headers]
    if not records and not unreadable:
        raise EmptyFile(
            f"{file_name} has the columns of a {app.value.capitalize()} export but no rows below them; there is nothing to import."
        )
    table = _Table(records, columns, app=app, separator=separator, weight_unit=weight_unit, file_name=file_name)
    return table.parsed(
        headers=headers,
        unreadable=unreadable,
        repeated_header_rows=len(repeated),
        content_hash=hashlib.sha256(content).hexdigest(),
    )


def _find_header(lines: Sequence[str], *, file_name: str) -> tuple[int, str, list[str]]:
    """Index of the header line, the separator and the headers. Raises UnknownFormat."""
    for index, line in enumerate(lines[:_HEADER_SEARCH_LINES]):
        best: tuple[int, str, list[str]] | None = None
        for separator in SEPARATORS:
            headers = split_fields(line, separator)
            if headers is None or len(headers) < 4:
                continue
            found = recognise(headers)
            if detect_app(found) is not None and (best is None or len(found) > best[0]):
                best = (len(found), separator, headers)
        if best is not None:
            return index, best[1], best[2]
    first = next((line.strip() for line in lines if line.strip()), "")
    shown = first if len(first) <= 80 else first[:77] + "…"
    raise UnknownFormat(
        f"{file_name} isn't an export of Strong, Hevy or FitNotes: its first line ({shown!r}) names no date, exercise and sets. "
        "Export the workouts as CSV from the app and import that file unchanged."
    )


def _read_rows(
    lines: Sequence[str], header_line: int, separator: str, headers: list[str], columns: Sequence[Column]
) -> tuple[list[Record], list[tuple[int, str, str]]]:
    start = next(column.index for column in columns if column.role is Role.START)
    by_role = {column.role: column.index for column in columns}
    numeric = [column.index for column in columns if column.role in (Role.WEIGHT, Role.REPS, Role.DISTANCE, Role.RPE, Role.RIR)]
    durations = [by_role[role] for role in (Role.SECONDS, Role.WORKOUT_DURATION) if role in by_role]
    wordy = [by_role[role] for role in (Role.EXERCISE, Role.CATEGORY, Role.WORKOUT_NAME) if role in by_role]
    end = by_role.get(Role.END)
    text_roles = (Role.EXERCISE, Role.NOTES, Role.WORKOUT_NOTES, Role.WORKOUT_NAME, Role.CATEGORY, Role.EQUIPMENT)
    text_columns = [by_role[role] for role in text_roles if role in by_role]

    def starts_record(fields: list[str]) -> bool:
        return len(fields) > start and _is_date(fields[start])

    def is_valid(fields: list[str]) -> bool:
        if not starts_record(fields):
            return False
        return (
            all(_is_number(fields[index]) for index in numeric)
            and all(_is_duration(fields[index]) for index in durations)
            and (end is None or not fields[end].strip() or _are_alike(fields[start], fields[end]))
            and not any(_is_number(fields[index]) for index in wordy if fields[index].strip())
        )

    width = len(headers)
    while width > 1 and not headers[width - 1].strip():
        width -= 1
    layout = Layout(separator=separator, width=width, starts_record=starts_record, is_valid=is_valid, text_columns=text_columns)
    return read_records(lines[header_line + 1 :], layout, first_line=header_line + 2)


def _is_date(text: str) -> bool:
    try:
        read_instant(text)
    except NotADate:
        return False
    return True


def _are_alike(start: str, end: str) -> bool:
    """Whether both are instants, or both days."""
    try:
        return read_instant(start).has_time == read_instant(end).has_time
    except NotADate:
        return False


def _is_number(text: str) -> bool:
    try:
        values.read_number(text, comma_is_decimal="," in text)
    except values.Unreadable:
        return False
    return True


def _is_duration(text: str) -> bool:
    try:
        values.read_duration(text)
    except values.Unreadable:
        return False
    return True


def _map_unique(cells: Sequence[str], read: Callable[[str], _T]) -> list[_T]:
    """`read` of every cell, called once per distinct text."""
    known: dict[str, _T] = {}
    for cell in cells:
        if cell not in known:
            known[cell] = read(cell)
    return [known[cell] for cell in cells]


class _Table:
    """One file's rows as columns, on their way to workouts and sets."""

    def __init__(
        self,
        records: list[Record],
        columns: Sequence[Column],
        *,
        app: WorkoutSource,
        separator: str,
        weight_unit: WeightUnit | None,
        file_name: str,
    ) -> None:
        self.records = records
        self.app = app
        self.separator = separator
        self.asked_unit = weight_unit
        self.file_name = file_name
        self.columns = list(columns)
        self.warnings: list[str] = []
        by_index: list[tuple[str, ...]] = list(zip(*(record.fields for record in records), strict=True)) if records else []
        self.cells: dict[Role, list[Sequence[str]]] = {}
        for column in columns:
            self.cells.setdefault(column.role, []).append(by_index[column.index] if by_index else ())
        self.reason = np.full(len(records), "", dtype=object)
        numbers = [
            cell
            for role in (Role.WEIGHT, Role.DISTANCE, Role.BODY_WEIGHT)
            for column_cells in self.cells.get(role, ())
            for cell in set(column_cells)
        ]
        self.comma = values.commas_are_decimal(numbers, separator=separator)

    # -- reading one column -------------------------------------------------------------------------------------------

    def has(self, role: Role) -> bool:
        return role in self.cells

    def texts(self, role: Role) -> Sequence[str]:
        return self.cells[role][0] if self.has(role) else [""] * len(self.records)

    def column(self, role: Role) -> Column | None:
        return next((column for column in self.columns if column.role is role), None)

    def reject(self, rows: np.ndarray, reason: str | Callable[[int], str]) -> None:
        """The first reason found stays: it's the one that a person sees first."""
        for row in np.flatnonzero(rows & (self.reason == "")).tolist():
            self.reason[row] = reason if isinstance(reason, str) else reason(row)

    def numbers(self, role: Role, name: str) -> np.ndarray:
        """A column's numbers, NaN for blank; rows with anything else, or below zero, are rejected."""
        bad = object()

        def read(cell: str) -> Any:
            try:
                value = values.read_number(cell, comma_is_decimal=self.comma)
            except values.Unreadable:
                return bad
            return np.nan if value is None else value

        texts = self.texts(role)
        found = _map_unique(texts, read)
        self.reject(np.array([value is bad for value in found], dtype=bool), lambda row: f"{name} {_quoted(texts[row])} isn't a number")
        result = np.array([np.nan if value is bad else value for value in found], dtype=float)
        self.reject(result < 0, lambda row: f"{name} {_quoted(texts[row])} is below zero")
        return result

    # -- the columns ---------------------------------------------------------------------------------------------------

    def instants(self) -> list[Instant | None]:
        texts = self.texts(Role.START)
        day_first, sure = days_come_first(dict.fromkeys(texts))
        self.day_first = day_first
        if not sure:
            order = "day/month/year" if day_first else "month/day/year"
            self.warnings.append(f"The dates could be read with the day or the month first; they were read as {order}.")
        found = _map_unique(texts, self._instant)
        missing = np.array([instant is None for instant in found], dtype=bool)
        self.reject(missing, lambda row: f"the date {_quoted(texts[row])} can't be read" if texts[row].strip() else "the row has no date")
        return found

    def _instant(self, cell: str) -> Instant | None:
        try:
            return read_instant(cell, day_first=self.day_first)
        except NotADate:
            return None

    def weights_kg(self) -> tuple[np.ndarray, str | None]:
        """Loads in kilograms (NaN: none) and the unit that the file names. Raises WeightUnitMissing."""
        count = len(self.records)
        kg = np.full(count, np.nan)
        row_units = self.texts(Role.WEIGHT_UNIT)
        weight_columns = [column for column in self.columns if column.role is Role.WEIGHT]
        named = {plain(unit) for unit in row_units if unit.strip()}
        only_unit = next(iter(named)) if len(named) == 1 else None
        header_units = {column.unit for column in weight_columns if column.unit}
        found_unit: str | None = None
        if header_units:
            found_unit = next(iter(header_units)) if len(header_units) == 1 else "per row"
        unitless = np.zeros(count, dtype=bool)
        unknown = np.zeros(count, dtype=bool)
        bad = object()
        for column, cells in zip(weight_columns, self.cells.get(Role.WEIGHT, ()), strict=True):

            def read(cell: str) -> Any:
                try:
                    return values.read_number_with_unit(cell, comma_is_decimal=self.comma)
                except values.Unreadable:
                    return bad

            found = _map_unique(cells, read)
            self.reject(
                np.array([value is bad for value in found], dtype=bool),
                lambda row, cells=cells: f"the weight {_quoted(cells[row])} isn't a number",  # type: ignore[misc]
            )
            numbers = np.array([np.nan if value is bad or value[0] is None else value[0] for value in found], dtype=float)
            self.reject(numbers < 0, lambda row, cells=cells: f"the weight {_quoted(cells[row])} is below zero")  # type: ignore[misc]
            cell_units = [None if value is bad else value[1] for value in found]
            if any(cell_units) and not header_units:
                found_unit = "per row"
            factors = np.full(count, np.nan)
            fallback = column.unit or (None if named else self._assumed_unit())
            for row in np.flatnonzero(~np.isnan(numbers)).tolist():
                unit = (
                    cell_units[row]
                    or plain(row_units[row])
                    or fallback
                    or only_unit
                    or (self.asked_unit.value if self.asked_unit else None)
                )
                if unit is None:
                    unitless[row] = numbers[row] != 0
                    factors[row] = 0.0 if numbers[row] == 0 else np.nan
                elif unit in values.KG_PER_WEIGHT_UNIT:
                    factors[row] = values.KG_PER_WEIGHT_UNIT[unit]
                else:
                    unknown[row] = True
            converted = numbers * factors
            kg = np.where(np.isnan(kg) | (kg == 0), np.where(np.isnan(converted), kg, converted), kg)
        if named and weight_columns:
            found_unit = "per row"
        usable = self.reason == ""
        if (unitless & usable).any():
            if not named and not header_units and found_unit is None:
                raise WeightUnitMissing(
                    f"{self.file_name} doesn't say whether its weights are kilograms or pounds. "
                    "Say which with --weight-unit kg or --weight-unit lb."
                )
            self.reject(unitless, "the weight has no unit; --weight-unit kg or lb would say which")
        self.reject(unknown, lambda row: f"the weight unit {_quoted(row_units[row])} isn't known")
        if found_unit is None and weight_columns and self._assumed_unit() is not None:
            found_unit = self._assumed_unit()
        elif found_unit is None and self.asked_unit is not None and weight_columns:
            found_unit = self.asked_unit.value
        elif found_unit in ("kg", "lb") and self.asked_unit is not None and self.asked_unit.value != found_unit:
            self.warnings.append(
                f"The file itself says that its weights are in {found_unit}; --weight-unit {self.asked_unit.value} was ignored."
            )
        elif found_unit == "per row" and self.asked_unit is not None and only_unit is not None:
            factor = values.KG_PER_WEIGHT_UNIT.get(only_unit)
            if factor is not None and (factor == KG_PER_LB) != (self.asked_unit is WeightUnit.LB):
                self.warnings.append(
                    f"The file itself names {only_unit} beside each weight; --weight-unit {self.asked_unit.value} was ignored."
                )
        return kg, found_unit

    def _assumed_unit(self) -> str | None:
        """The FitNotes version that writes workouts with Status and IsWarmup keeps all weights in kilograms and names no unit."""
        if self.app is WorkoutSource.FITNOTES and self.has(Role.STATUS) and self.has(Role.IS_WARMUP):
            return (self.asked_unit or WeightUnit.KG).value
        return None

    def reps(self) -> np.ndarray:
        texts = self.texts(Role.REPS)
        reps = self.numbers(Role.REPS, "the number of reps")
        self.reject(reps > MOST_REPS, lambda row: f"{texts[row].strip()} reps in one set is impossible")
        self.reject(reps % 1 > 0, lambda row: f"{texts[row].strip()} reps isn't a whole number")
        return np.where(reps > 0, reps, np.nan)

    def set_seconds(self) -> np.ndarray:
        column = self.column(Role.SECONDS)
        texts = self.texts(Role.SECONDS)
        factor = values.SECONDS_PER_UNIT.get(column.unit or "s", 1.0) if column else 1.0
        seconds = self._durations(texts, seconds_per_number=factor, two_parts_are_hours=False)
        self.reject(np.isneginf(seconds), lambda row: f"the time {_quoted(texts[row])} can't be read")
        self.reject(seconds > LONGEST_SET_SECONDS, lambda row: f"a set of {texts[row].strip()} (over a day) is impossible")
        return np.where(seconds > 0, seconds, np.nan)

    def _durations(self, texts: Sequence[str], *, seconds_per_number: float, two_parts_are_hours: bool) -> np.ndarray:
        """Seconds, NaN for blank, minus infinity for what can't be read."""

        def read(cell: str) -> float:
            try:
                value = values.read_duration(cell, seconds_per_number=seconds_per_number, two_parts_are_hours=two_parts_are_hours)
            except values.Unreadable:
                return -np.inf
            if value is None:
                return np.nan
            return value if value >= 0 else -np.inf

        return np.array(_map_unique(texts, read), dtype=float)

    def distances_m(self) -> tuple[np.ndarray, np.ndarray]:
        """Meters (NaN: none or in no named unit), and which rows have a distance whose unit nobody names."""
        count = len(self.records)
        meters = np.full(count, np.nan)
        unnamed = np.zeros(count, dtype=bool)
        row_units = self.texts(Role.DISTANCE_UNIT)
        distance_columns = [column for column in self.columns if column.role is Role.DISTANCE]
        for column, cells in zip(distance_columns, self.cells.get(Role.DISTANCE, ()), strict=True):
            bad = object()

            def read(cell: str, bad: object = bad) -> Any:
                try:
                    return values.read_number_with_unit(cell, comma_is_decimal=self.comma)
                except values.Unreadable:
                    return bad

            found = _map_unique(cells, read)
            self.reject(
                np.array([value is bad for value in found], dtype=bool),
                lambda row, cells=cells: f"the distance {_quoted(cells[row])} isn't a number",  # type: ignore[misc]
            )
            for row, value in enumerate(found):
                if value is bad or not value[0]:
                    continue
                unit = value[1] or plain(row_units[row]) or column.unit
                if value[0] < 0:
                    self.reject(np.arange(count) == row, f"the distance {_quoted(cells[row])} is below zero")
                elif unit in values.METERS_PER_DISTANCE_UNIT:
                    if np.isnan(meters[row]):
                        meters[row] = value[0] * values.METERS_PER_DISTANCE_UNIT[unit]
                else:
                    unnamed[row] = True
        self.reject(meters > LONGEST_SET_METERS, "a distance over 1,000 km in one set is impossible")
        return meters, unnamed & np.isnan(meters)

    def rpe(self) -> np.ndarray:
        """RPE from 1 to 10; where only reps in reserve are logged, 10 minus these. Zero and nonsense count as none: the set stays."""

        def read(cell: str) -> float:
            try:
                value = values.read_number(cell.replace("@", ""), comma_is_decimal="," in cell)
            except values.Unreadable:
                return np.inf
            return np.nan if value is None else value

        result = np.array(_map_unique(self.texts(Role.RPE), read), dtype=float)
        useless = (result != 0) & ((result < 1) | (result > 10))
        if useless.any():
            self.warnings.append(f"{useless.sum():,} RPE values outside 1 to 10 were left out; their sets were kept.")
        result = np.where((result >= 1) & (result <= 10), result, np.nan)
        if self.has(Role.RIR):
            reserve = np.array(_map_unique(self.texts(Role.RIR), read), dtype=float)
            from_reserve = np.where((reserve >= 0) & (reserve <= 9), 10 - reserve, np.nan)
            result = np.where(np.isnan(result), from_reserve, result)
        return result

    def marks(self) -> np.ndarray:
        """SetType, REST, NOTE or UNKNOWN of every row."""
        role = Role.SET_TYPE if self.has(Role.SET_TYPE) else Role.SET_ORDER
        if self.has(role):
            marks = np.array(_map_unique(self.texts(role), values.read_set_mark), dtype=object)
        else:
            marks = np.full(len(self.records), SetType.NORMAL, dtype=object)
        if self.has(Role.IS_WARMUP):
            warm = np.array(_map_unique(self.texts(Role.IS_WARMUP), values.is_true), dtype=bool)
            marks[warm & (marks == SetType.NORMAL)] = SetType.WARMUP
        return marks

    # -- the whole -----------------------------------------------------------------------------------------------------

    def parsed(
        self, *, headers: Sequence[str], unreadable: list[tuple[int, str, str]], repeated_header_rows: int, content_hash: str
    ) -> ParsedLog:
        count = len(self.records)
        marks = self.marks()
        order_words = self.texts(Role.SET_TYPE if self.has(Role.SET_TYPE) else Role.SET_ORDER)
        marks = self._judge_unknown(marks, order_words)
        if self.app is WorkoutSource.STRONG:
            marks = self._judge_rest_exercises(marks)
        is_rest, is_note = marks == values.REST, marks == values.NOTE
        aside = is_rest | is_note
        # Rest timers and notes are judged by their mark alone: nothing else in them is asked for.
        self.reason[aside] = "aside"
        instants = self.instants()
        exercise_names = np.array(_map_unique(self.texts(Role.EXERCISE), unify), dtype=object)
        self.reject(exercise_names == "", "the row names no exercise")
        if self.has(Role.STATUS):
            statuses = self.texts(Role.STATUS)
            undone = np.array(_map_unique(statuses, _is_undone), dtype=bool)
            self.reject(undone, lambda row: f"its status is {_quoted(statuses[row])}, not Done")
        reps = self.reps()
        kg, unit = self.weights_kg()
        seconds = self.set_seconds()
        meters, unnamed_distance = self.distances_m()
        if self.app is WorkoutSource.STRONG:
            # Strong fills every missing weight with a zero.
            kg = np.where(kg > 0, kg, np.nan)
        heaviest = np.array(_map_unique(list(exercise_names), most_kg), dtype=float)
        self.reject(kg > heaviest, lambda row: f"a load of {kg[row]:,.0f} kg in {exercise_names[row]} is impossible")
        empty = np.isnan(reps) & np.isnan(seconds) & np.isnan(meters)
        self.reject(empty & unnamed_distance, "the row has only a distance, and neither the file nor the row names its unit")
        self.reject(empty, "the row has no reps, no time and no distance, so it isn't a set")
        left_out = unnamed_distance & (self.reason == "")
        if left_out.any():
            self.warnings.append(f"{left_out.sum():,} distances name no unit and were left out; their sets were kept.")
        rpe = self.rpe()
        frame = pd.DataFrame(
            {
                "row": np.arange(count),
                "line": np.fromiter((record.line for record in self.records), dtype=np.int64, count=count),
                "exercise_name": exercise_names,
                "equipment_hint": _texts_or_null(self.texts(Role.EQUIPMENT), unify),
                "set_type": marks,
                "weight_kg": kg,
                "reps": reps,
                "duration_seconds": seconds,
                "distance_m": meters,
                "rpe": rpe,
                "notes": _texts_or_null(self.texts(Role.NOTES), str.strip),
                "superset": _texts_or_null(self.texts(Role.SUPERSET), str.strip),
                "order": [word.strip() for word in self.texts(Role.SET_ORDER)],
            }
        )
        self._attach_notes(frame, is_note)
        kept = frame[self.reason == ""].copy()
        # `instants` are dates of the kept rows, so none is missing.
        kept["key"] = pd.Series(self._workout_keys(instants, kept["row"].tolist()), index=kept.index, dtype=object)
        kept, duplicate_rows, duplicate_workouts = self._merge_doubled(kept)
        workouts, sets = self._assemble(kept, instants)
        rejected = pd.DataFrame(
            [
                *unreadable,
                *(
                    (self.records[row].line, self.records[row].text, self.reason[row])
                    for row in np.flatnonzero((self.reason != "") & ~aside)
                ),
            ],
            columns=["line", "raw_text", "reason"],
        ).sort_values("line", ignore_index=True)
        return ParsedLog(
            app=self.app,
            variant=self._variant(headers, instants, unit),
            weight_unit=unit,
            file_name=self.file_name,
            content_hash=content_hash,
            workouts=workouts,
            sets=sets,
            rejected=rejected.astype({"line": "int64"}),
            data_rows=count + len(unreadable) + repeated_header_rows,
            rest_rows=int(is_rest.sum()),
            note_rows=int(is_note.sum()),
            repeated_header_rows=repeated_header_rows,
            duplicate_workouts=duplicate_workouts,
            duplicate_rows=duplicate_rows,
            warnings=tuple(self.warnings),
        )

    def _judge_unknown(self, marks: np.ndarray, words: Sequence[str]) -> np.ndarray:
        """A mark in a language that we don't know: without reps and load a rest timer, a letter or anything with reps a set."""
        unknown = marks == values.UNKNOWN
        if not unknown.any():
            return marks
        marks = marks.copy()
        for row in np.flatnonzero(unknown).tolist():
            if self.app is WorkoutSource.STRONG and len(words[row].strip()) > 3 and not self._has_effort(row):
                marks[row] = values.REST
            else:
                marks[row] = SetType.NORMAL
        kinds = sorted({words[row].strip() for row in np.flatnonzero(unknown).tolist()})
        self.warnings.append(
            f"Unknown kinds of sets ({', '.join(kinds[:5])}) were read as normal sets, or as rest where they have no reps."
        )
        return marks

    def _judge_rest_exercises(self, marks: np.ndarray) -> np.ndarray:
        """Some exports name the rest timer where the exercise stands."""
        named = np.array(_map_unique(self.texts(Role.EXERCISE), lambda name: plain(name) in ("rest timer", "rest", "ruhezeit")), dtype=bool)
        marks = marks.copy()
        for row in np.flatnonzero(named).tolist():
            if not self._has_effort(row):
                marks[row] = values.REST
        return marks

    def _has_effort(self, row: int) -> bool:
        for role in (Role.REPS, Role.WEIGHT, Role.DISTANCE):
            for cells in self.cells.get(role, ()):
                try:
                    if values.read_number(cells[row], comma_is_decimal=self.comma):
                        return True
                except values.Unreadable:
                    return True
        return False

    def _attach_notes(self, frame: pd.DataFrame, is_note: np.ndarray) -> None:
        """A note in a row of its own belongs to the next set of its exercise in that workout, or to the one before."""
        starts = self.texts(Role.START)
        notes = frame["notes"].to_numpy(dtype=object)
        names = frame["exercise_name"].to_numpy(dtype=object)
        for row in np.flatnonzero(is_note).tolist():
            if pd.isna(notes[row]):
                continue
            for step in (1, -1):
                target = row + step
                while (
                    0 <= target < len(notes) and starts[target] == starts[row] and names[target] == names[row] and self.reason[target] != ""
                ):
                    target += step
                if 0 <= target < len(notes) and starts[target] == starts[row] and names[target] == names[row]:
                    own = notes[target]
                    notes[target] = notes[row] if pd.isna(own) else f"{notes[row]}\n{own}"
                    break
        frame["notes"] = notes

    def _workout_keys(self, instants: Sequence[Instant | None], rows: Sequence[int]) -> list[Hashable]:
        """Rows of one key are one workout: same start and name; only the day where the file knows no workouts."""
        names = self.texts(Role.WORKOUT_NAME)
        numbers = self.texts(Role.WORKOUT_NUMBER)
        ends = self.texts(Role.END)
        by_day = not (self.has(Role.WORKOUT_NAME) or self.has(Role.END) or self.has(Role.SET_ORDER))
        keys: list[Hashable] = []
        for row in rows:
            instant = instants[row]
            assert instant is not None
            if by_day:
                keys.append((instant.local.date(),))
                continue
            keys.append((instant.local, instant.offset, names[row].strip(), numbers[row].strip(), ends[row].strip()))
        return keys

    def _merge_doubled(self, kept: pd.DataFrame) -> tuple[pd.DataFrame, int, int]:
        """Collapse workouts that the file holds more than once: same start, same sets.

        Strong sometimes writes a workout twice, under one number, or as two workouts with the same start. Since it numbers
        the sets of an exercise, a workout in which *every* row stands k times is k copies. FitNotes numbers nothing:
        equal rows there are equal sets.
        """
        if self.app is WorkoutSource.FITNOTES or kept.empty:
            return kept, 0, 0
        content = ["exercise_name", "order", "set_type", "weight_kg", "reps", "duration_seconds", "distance_m", "rpe"]
        workout_code = pd.factorize(kept["key"])[0]
        row_code = kept.groupby(content, dropna=False, sort=False).ngroup().to_numpy()
        pairs = pd.DataFrame({"workout": workout_code, "content": row_code}, index=kept.index)
        copy_number = pairs.groupby(["workout", "content"], sort=False).cumcount().to_numpy()
        repeats = pairs.groupby(["workout", "content"], sort=False)["content"].transform("size")
        numbered = kept["order"].str.fullmatch(r"\d+(?:[.,]0+)?")
        copies = repeats.groupby(workout_code).agg(lambda counts: int(np.gcd.reduce(counts.to_numpy())))
        has_number = numbered.groupby(workout_code).any()
        copies = copies.where(has_number, 1)
        row_copies = copies.to_numpy()[workout_code]
        # The first copy of each row stays: of A B A B and of A A B B alike, A B remains.
        extra = copy_number >= repeats.to_numpy() // row_copies
        duplicate_workouts = int((copies - 1).sum())
        kept = kept[~extra]
        duplicate_rows = int(extra.sum())
        # Two workouts, by number or name, that start together and hold the same sets.
        signature = (
            pd.Series(row_code[~extra], index=kept.index)
            .groupby(kept["key"], sort=False)
            .agg(lambda codes: np.sort(codes.to_numpy()).tobytes())
        )
        first_with: dict[Hashable, Hashable] = {}
        doubled: set[Hashable] = set()
        for key, sets_of_workout in signature.items():
            known = first_with.setdefault((key[:2], sets_of_workout), key)  # type: ignore[index]
            if known != key:
                doubled.add(key)
        if doubled:
            again = kept["key"].isin(doubled)
            duplicate_rows += int(again.sum())
            duplicate_workouts += len(doubled)
            kept = kept[~again]
        return kept, duplicate_rows, duplicate_workouts

    def _assemble(self, kept: pd.DataFrame, instants: Sequence[Instant | None]) -> tuple[pd.DataFrame, pd.DataFrame]:
        kept = kept.copy()
        kept["workout_index"], keys = pd.factorize(kept["key"])
        kept = kept.sort_values(["workout_index", "row"], kind="stable")
        kept["position"] = kept.groupby("workout_index").cumcount()
        sets = pd.DataFrame(
            {
                "workout_index": kept["workout_index"].astype("int64"),
                "position": kept["position"].astype("int64"),
                "exercise_name": kept["exercise_name"].astype("str"),
                "equipment_hint": kept["equipment_hint"],
                "set_type": [str(SetType(mark).value) for mark in kept["set_type"]],
                "weight_kg": kept["weight_kg"].astype("float64"),
                "reps": kept["reps"].astype("Int64"),
                "duration_seconds": kept["duration_seconds"].astype("float64"),
                "distance_m": kept["distance_m"].astype("float64"),
                "rpe": kept["rpe"].astype("float64"),
                "notes": kept["notes"],
                "superset": kept["superset"],
                "line": kept["line"].astype("int64"),
            }
        ).reset_index(drop=True)
        for name in ("set_type", "equipment_hint", "notes", "superset"):
            sets[name] = sets[name].astype("str")
        first_rows = kept.drop_duplicates("workout_index")["row"].tolist()
        starts = [instants[row] for row in first_rows]
        durations, ends = self._workout_durations(first_rows, starts)
        names = self.texts(Role.WORKOUT_NAME)
        workouts = pd.DataFrame(
            {
                "workout_index": np.arange(len(keys), dtype=np.int64),
                "started_at_local": pd.Series([start.local for start in starts if start], dtype="datetime64[us]"),
                "started_at_utc": pd.Series([start.utc for start in starts if start], dtype="datetime64[us, UTC]"),
                "ended_at_local": pd.Series(ends, dtype="datetime64[us]"),
                "has_time": np.array([bool(start and start.has_time) for start in starts], dtype=bool),
                "name": pd.Series([unify(names[row]) or None for row in first_rows], dtype="str"),
                "notes": pd.Series(self._workout_notes(kept), dtype="str"),
                "duration_seconds": pd.Series(durations, dtype="float64").round().astype("Int64"),
            }
        )
        return workouts, sets

    def _workout_notes(self, kept: pd.DataFrame) -> list[str | None]:
        """The first note about the workout that any of its rows holds: Strong writes it only once."""
        texts = _texts_or_null(self.texts(Role.WORKOUT_NOTES), str.strip)
        notes = pd.Series(texts[kept["row"].to_numpy()], index=kept.index, dtype=object)
        return [None if pd.isna(note) else str(note) for note in notes.groupby(kept["workout_index"]).first()]

    def _workout_durations(self, rows: Sequence[int], starts: Sequence[Instant | None]) -> tuple[list[float], list[datetime | None]]:
        """Seconds (NaN: unknown) as written or between offsets, and the wall time of the end where only a zone can tell them."""
        column = self.column(Role.WORKOUT_DURATION)
        texts = self.texts(Role.WORKOUT_DURATION)
        ends = self.texts(Role.END)
        factor = values.SECONDS_PER_UNIT.get(column.unit or "s", 1.0) if column else 1.0
        written = self._durations([texts[row] for row in rows], seconds_per_number=factor, two_parts_are_hours=True)
        durations: list[float] = []
        local_ends: list[datetime | None] = []
        for row, start, seconds in zip(rows, starts, written, strict=True):
            duration = float(seconds)
            end = self._instant(ends[row]) if ends[row].strip() else None
            local_end: datetime | None = None
            if np.isnan(duration) and start is not None and end is not None and start.has_time and end.has_time:
                if start.offset is None and end.offset is None:
                    local_end = end.local
                else:
                    duration = ((end.utc - start.utc) if end.utc and start.utc else (end.local - start.local)).total_seconds()
            durations.append(duration if 0 <= duration <= LONGEST_WORKOUT_SECONDS else np.nan)
            local_ends.append(local_end)
        return durations, local_ends

    def _variant(self, headers: Sequence[str], instants: Sequence[Instant | None], unit: str | None) -> str:
        separators = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
        first = next((instant for instant in instants if instant is not None), None)
        start = next((text for text in self.texts(Role.START) if text.strip()), "")
        if first is None or not first.has_time:
            dates = "dates without time"
        elif first.offset is not None:
            dates = "times with offset"
        elif any(mark in plain(start).split() for mark in ("am", "pm")) or plain(start).endswith((" a m", " p m")):
            dates = "12-hour times"
        elif any(character.isalpha() for character in start.replace("T", "")):
            dates = "times with month names"
        elif start.count(":") == 1:
            dates = "times to the minute"
        else:
            dates = "times to the second"
        units = "unit per row" if unit == "per row" else f"weights in {unit}" if unit else "no weights"
        app = {WorkoutSource.FITNOTES: "FitNotes"}.get(self.app, self.app.value.capitalize())
        return f"{app}, {language_of(headers)} headers, {separators[self.separator]}, {dates}, {units}" + (
            ", decimal comma" if self.comma else ""
        )


def _quoted(text: str) -> str:
    shown = unify(text)
    return f"“{shown if len(shown) <= 60 else shown[:57] + '…'}”"


def _texts_or_null(cells: Sequence[str], clean: Callable[[str], str]) -> np.ndarray:
    return np.array(_map_unique(cells, lambda cell: clean(cell) or None), dtype=object)


def _is_undone(status: str) -> bool:
    return plain(status) not in {"", "done", "completed", "complete", "finished", "true", "yes", "1"}
