"""Oddities of exports, one small file each: quoting, encodings, headers, dates, units, marks, rejections, doubles."""

from datetime import datetime

import pandas as pd
import pytest

from domain.vocabulary import KG_PER_LB, WeightUnit, WorkoutSource
from domain.workout_logs import EmptyFile, ParsedLog, UnknownFormat, WeightUnitMissing, read_log, values

STRONG = "Date,Workout Name,Duration,Exercise Name,Set Order,Weight,Reps,Distance,Seconds,Notes,Workout Notes,RPE"
HEVY = (
    "title,start_time,end_time,description,exercise_title,superset_id,exercise_notes,set_index,set_type,weight_kg,reps,distance_km,"
    "duration_seconds,rpe"
)
FITNOTES = "Date,Exercise,Category,Weight,Weight Unit,Reps,Distance,Distance Unit,Time,Comment"


def _strong(*rows: str, header: str = STRONG, unit: WeightUnit | None = WeightUnit.KG) -> ParsedLog:
    return _read("\n".join([header, *rows]), unit)


def _read(text: str | bytes, unit: WeightUnit | None = None) -> ParsedLog:
    log = read_log(text if isinstance(text, bytes) else text.encode(), file_name="log.csv", weight_unit=unit)
    assert (
        len(log.sets) + len(log.rejected) + log.rest_rows + log.note_rows + log.duplicate_rows + log.repeated_header_rows == log.data_rows
    )
    return log


def _set(
    order: str = "1",
    weight: str = "60",
    reps: str = "8",
    seconds: str = "0",
    notes: str = "",
    rpe: str = "",
    name: str = '"Squat (Barbell)"',
) -> str:
    return f'2024-03-05 18:30:00,"Legs",1h 2m,{name},{order},{weight},{reps},0,{seconds},{notes},,{rpe}'


# -- marks of sets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "set_type"),
    [("1", "normal"), ("12", "normal"), ("W", "warmup"), ("w", "warmup"), ("D", "drop"), ("F", "failure"), ("W1", "warmup"),
     ("Warm-up", "warmup"), ("Drop set", "drop"), ("Failure", "failure"), ("Aufwärmen", "warmup"), ("Échauffement", "warmup")],
)  # fmt: skip
def test_the_marks_of_strong_become_set_types(mark: str, set_type: str) -> None:
    assert _strong(_set(order=mark)).sets["set_type"].tolist() == [set_type]


@pytest.mark.parametrize(
    "word", ["Rest Timer", "Ruhezeit", "Minuteur de repos", "Temporizador de descanso", "Timer di recupero", "Rusttimer"]
)
def test_rest_timers_are_counted_and_never_become_sets(word: str) -> None:
    log = _strong(_set(), _set(order=word, weight="0", reps="0", seconds="90"), _set(order="2"))
    assert (len(log.sets), log.rest_rows, len(log.rejected)) == (2, 1, 0)


def test_a_rest_timer_in_an_unknown_language_is_told_by_having_no_reps() -> None:
    log = _strong(_set(), _set(order="Odihnă", weight="0", reps="0", seconds="90"))
    assert (len(log.sets), log.rest_rows) == (1, 1)
    assert "Odihnă" in log.warnings[0]


def test_an_unknown_letter_is_a_set() -> None:
    log = _strong(_set(order="X"))
    assert log.sets["set_type"].tolist() == ["normal"]


def test_a_note_in_a_row_of_its_own_goes_to_the_set_behind_it() -> None:
    log = _strong(_set(order="Note", weight="0", reps="0", notes='"Heels up"'), _set(), _set(order="2"))
    assert log.note_rows == 1
    assert log.sets["notes"].tolist()[0] == "Heels up"
    assert pd.isna(log.sets["notes"].tolist()[1])


@pytest.mark.parametrize(("word", "set_type"), [("normal", "normal"), ("warmup", "warmup"), ("dropset", "drop"), ("failure", "failure")])
def test_the_words_of_hevy_become_set_types(word: str, set_type: str) -> None:
    log = _read(f'{HEVY}\nPush,"5 Mar 2024, 18:00","5 Mar 2024, 19:00",,Bench Press,0,,0,{word},60,8,,,8.5')
    assert log.sets["set_type"].tolist() == [set_type]
    assert log.sets["superset"].tolist() == ["0"]
    assert log.sets["rpe"].tolist() == [8.5]
    assert log.workouts["ended_at_local"].tolist() == [datetime(2024, 3, 5, 19)]


# -- quoting, separators, encodings ------------------------------------------------------------------------------------


def test_line_breaks_in_names_and_notes_stay_in_their_row_and_lines_are_counted_physically() -> None:
    log = _strong(_set(notes='"first line\nsecond, line"'), _set(order="2"), _set(order="3", reps="nine"))
    assert log.sets["notes"].tolist()[0] == "first line\nsecond, line"
    assert log.sets["line"].tolist() == [2, 4]
    assert log.rejected["line"].tolist() == [5]


def test_a_line_break_in_a_name_becomes_a_blank() -> None:
    assert _strong(_set(name='"Squat\n(Barbell)"')).sets["exercise_name"].tolist() == ["Squat (Barbell)"]


@pytest.mark.parametrize(
    ("written", "name"),
    [('Pause Deadlift 1"', 'Pause Deadlift 1"'), ('"Deadlift 1"""', 'Deadlift 1"'), ('"Deadlift 1""', 'Deadlift 1"'),
     ('"The "big" one"', 'The "big" one'), ('"Curl, Hammer"', "Curl, Hammer"), ("Curl (Each Side, Hammer)", "Curl (Each Side, Hammer)")],
)  # fmt: skip
def test_stray_quotes_and_commas_in_names_survive(written: str, name: str) -> None:
    rows = [f"2024-03-0{day},{written},Back,80.0,kgs,5,,,," for day in (1, 2)]
    log = _read("\n".join([FITNOTES, "2024-02-28,Row,Back,50.0,kgs,10,,,,", *rows, "2024-03-04,Row,Back,50.0,kgs,10,,,,"]))
    assert log.sets["exercise_name"].tolist() == ["Row", name, name, "Row"]
    assert log.sets["line"].tolist() == [2, 3, 4, 5]


def test_a_quote_that_never_closes_costs_only_its_own_row() -> None:
    log = _read("\n".join([FITNOTES, '2024-03-01,"Row,Back,80.0,kgs,5,,,,', "2024-03-02,Row,Back,50.0,kgs,10,,,,"]))
    assert len(log.sets) + len(log.rejected) == 2
    assert log.sets["line"].tolist()[-1] == 3


def test_a_comma_row_that_could_mean_anything_is_rejected_with_its_text() -> None:
    row = "2024-03-01,Row,Back,a,b,c,d,e,f,g,h,i"
    log = _read("\n".join([FITNOTES, row]))
    assert log.sets.empty
    assert log.rejected[["line", "raw_text"]].values.tolist() == [[2, row]]
    assert "columns" in log.rejected["reason"][0]


def test_commas_in_an_unquoted_comment_stay_in_the_comment() -> None:
    log = _read("\n".join([FITNOTES, "2024-03-01,Row,Back,80.0,kgs,5,,,,slow, then, fast"]))
    assert log.sets[["weight_kg", "reps", "notes"]].values.tolist() == [[80.0, 5, "slow, then, fast"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_make_no_difference(encoding: str, line_end: str) -> None:
    text = line_end.join([STRONG, _set(name="Développé couché"), _set(order="2", name="Développé couché"), ""])
    log = _read(text.encode(encoding), WeightUnit.KG)
    assert log.sets["exercise_name"].tolist() == ["Développé couché"] * 2
    assert log.sets["line"].tolist() == [2, 3]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_commas_semicolons_and_tabs_separate_alike(separator: str) -> None:
    text = "\n".join([STRONG, _set()]).replace(",", separator)
    assert _read(text, WeightUnit.KG).sets["reps"].tolist() == [8]


def test_columns_are_found_by_name_whatever_their_order_and_company() -> None:
    log = _read(
        "RPE;Reps;Colour;Exercise Name;Weight;Weight Unit;Set Order;Date;Workout Name\n8;5;red;Squat;100;lbs;1;2024-03-05 18:30:00;Legs"
    )
    assert log.app is WorkoutSource.STRONG
    assert log.sets[["exercise_name", "reps", "rpe"]].values.tolist() == [["Squat", 5, 8.0]]
    assert log.sets["weight_kg"].tolist() == [100 * KG_PER_LB]


@pytest.mark.parametrize(
    "header",
    [
        "Datum,Workout-Name,Dauer,Name der Übung,Reihenfolge festlegen,Gewicht,Wiederh.,Entfernung,Sekunden,Notizen,Workout-Notizen,RPE",
        "Date,Nom de l'entraînement,Durée,Nom de l'exercice,Ordre de la série,Poids,Réps,Distance,Secondes,Notes,Notes d'entraînement,RPE",
        "Fecha,Nombre del entrenamiento,Duración,Nombre del ejercicio,Orden de la serie,Peso,Reps,Distancia,Segundos,Notas,Notas del entrenamiento,RPE",
        "Data,Nome allenamento,Durata,Nome esercizio,Ordine serie,Peso,Ripetizioni,Distanza,Secondi,Note,Note allenamento,RPE",
        "Data,Nome do treino,Duração,Nome do exercício,Ordem da série,Peso,Repetições,Distância,Segundos,Notas,Notas do treino,RPE",
        "Datum,Naam training,Duur,Naam oefening,Volgorde sets,Gewicht,Herhalingen,Afstand,Seconden,Notities,Notities training,RPE",
    ],
)
def test_headers_in_other_languages_mean_the_same(header: str) -> None:
    row = '2024-03-05 18:30:00,"Legs",1h 2m,"Squat",W,60,8,0,0,"deep","tired",7.5'
    log = _strong(row, header=header)
    assert log.app is WorkoutSource.STRONG
    assert log.sets[["exercise_name", "set_type", "weight_kg", "reps", "notes", "rpe"]].values.tolist() == [
        ["Squat", "warmup", 60.0, 8, "deep", 7.5]
    ]
    assert log.workouts[["name", "notes", "duration_seconds"]].values.tolist() == [["Legs", "tired", 3720]]


def test_a_header_repeated_further_down_is_no_row() -> None:
    log = _strong(_set(), STRONG, _set(order="2"))
    assert (len(log.sets), log.repeated_header_rows) == (2, 1)


def test_dates_whose_comma_isnt_quoted_are_put_together_again() -> None:
    row = "Push,30 Jun 2025, 19:56,30 Jun 2025, 20:56,,Bench Press,,,0,normal,60,8,,,"
    log = _read("\n".join([HEVY, row, row.replace("0,normal", "1,normal")]))
    assert log.workouts[["started_at_local", "ended_at_local"]].values.tolist() == [
        [pd.Timestamp("2025-06-30 19:56"), pd.Timestamp("2025-06-30 20:56")]
    ]
    assert log.sets["weight_kg"].tolist() == [60.0, 60.0]


def test_rows_that_a_spreadsheet_wrapped_in_quotes_are_unwrapped() -> None:
    rows = [STRONG, _set(), _set(order="2")]
    log = _read("\n".join('"' + row.replace('"', '""') + '"' for row in rows), WeightUnit.KG)
    assert (log.sets["exercise_name"].tolist(), len(log.rejected)) == (["Squat (Barbell)"] * 2, 0)


def test_a_rest_timer_that_stands_as_an_exercise_is_no_set() -> None:
    log = _strong(_set(), _set(order="1", name="Rest Timer", weight="0", reps="0", seconds="90"))
    assert (len(log.sets), log.rest_rows) == (1, 1)


def test_kinds_completion_and_a_column_per_unit_are_read_in_a_log_without_workouts() -> None:
    header = "Date,Exercise,Category,Weight (kg),Weight (lbs),Reps,Distance,Distance Unit,Time,Time Unit,Notes,Kind,Is Completed"
    rows = [
        "Squat,Legs,100,,5,,,,,,,true",
        "Squat,Legs,,100,5,,,,,,warmup,true",
        "Squat,Legs,0,45,5,,,,,,,true",
        "Squat,Legs,120,,5,,,,,,,false",
    ]
    log = _read("\n".join([header, *(f"2026-01-15,{row}" for row in rows)]))
    assert log.app is WorkoutSource.FITNOTES
    assert log.sets["weight_kg"].tolist() == [100.0, 100 * KG_PER_LB, 45 * KG_PER_LB]
    assert log.sets["set_type"].tolist() == ["normal", "warmup", "normal"]
    assert log.rejected["reason"].tolist() == ["its status is “false”, not Done"]


# -- numbers, units ----------------------------------------------------------------------------------------------------


def test_decimal_commas_are_read_as_such_throughout_the_file() -> None:
    log = _strong(*(_set(weight=weight, order=order) for weight, order in (('"62,5"', "1"), ('"1,25"', "2"), ('"102,125"', "3"))))
    assert log.sets["weight_kg"].tolist() == [62.5, 1.25, 102.125]


def test_a_comma_that_groups_thousands_makes_an_impossible_squat() -> None:
    log = _strong(_set(), _set(order="2", weight='"1,341"'), _set(order="3", weight="62.5"))
    assert log.sets["weight_kg"].tolist() == [60.0, 62.5]
    assert "1,341 kg in Squat (Barbell) is impossible" in log.rejected["reason"][0]


def test_pounds_come_back_as_pounds() -> None:
    log = _strong(_set(weight="45"), unit=WeightUnit.LB)
    assert log.sets["weight_kg"].tolist() == [45 * 0.45359237]
    assert log.sets["weight_kg"][0] / KG_PER_LB == 45


def test_a_unit_behind_the_number_counts() -> None:
    log = _strong(_set(weight="80 kg"), _set(order="2", weight="100lbs"), unit=None)
    assert log.sets["weight_kg"].tolist() == [80.0, 100 * KG_PER_LB]


def test_a_file_without_weights_needs_no_unit() -> None:
    log = _strong(_set(weight="0"), unit=None)
    assert (log.weight_unit, log.sets["weight_kg"].isna().all()) == (None, True)


def test_a_file_that_names_its_unit_keeps_it_and_says_so() -> None:
    log = _read(f'{HEVY}\nPush,"5 Mar 2024, 18:00","5 Mar 2024, 19:00",,Bench Press,,,0,normal,60,8,,,', WeightUnit.LB)
    assert log.sets["weight_kg"].tolist() == [60.0]
    assert "--weight-unit lb was ignored" in log.warnings[0]


def test_no_unit_is_an_error_that_names_the_way_out() -> None:
    with pytest.raises(WeightUnitMissing, match=r"log\.csv doesn't say .* --weight-unit kg or --weight-unit lb"):
        _strong(_set(), unit=None)


def test_distances_are_meters_whatever_their_unit_and_unknown_without_one() -> None:
    rows = [
        f"2024-03-05,Run,Cardio,,,,{distance},{unit},0:10:00," for distance, unit in (("2", "km"), ("1", "mi"), ("500", "m"), ("7", ""))
    ]
    log = _read("\n".join([FITNOTES, *rows]))
    assert log.sets["distance_m"].fillna(-1).tolist() == [2000.0, 1609.344, 500.0, -1.0]
    assert "1 distances name no unit" in log.warnings[0]
    assert log.sets["duration_seconds"].tolist() == [600.0] * 4


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("2h 18m", 8280), ("21min", 1260), ("1h 2min", 3720), ("45s", 45), ("1:02:03", 3723), ("2h", 7200), ("4848", 4848), ("1 Std. 5 Min.", 3900),
     ("1 h 5 min 7 s", 3907), ("445h 20m", None), ("", None), ("soon", None)],
)  # fmt: skip
def test_durations_in_every_spelling_are_seconds_and_unknown_beyond_six_hours(written: str, seconds: int | None) -> None:
    duration = _strong(_set().replace("1h 2m", written)).workouts["duration_seconds"]
    assert duration.isna().all() if seconds is None else duration.tolist() == [seconds]


@pytest.mark.parametrize(
    ("start", "end", "seconds", "ended_at_local"),
    [
        ("5 Mar 2024, 18:00", "5 Mar 2024, 19:00", None, datetime(2024, 3, 5, 19)),
        ("2024-03-05T18:00:00+01:00", "2024-03-05T18:30:00Z", 5400, None),
        ("2024-03-05T18:00:00+01:00", "2024-03-06T18:30:00+01:00", None, None),
        ("5 Mar 2024, 18:00", "", None, None),
    ],
)
def test_an_end_without_offset_is_handed_on_and_one_with_an_offset_tells_the_duration(
    start: str, end: str, seconds: int | None, ended_at_local: datetime | None
) -> None:
    workout = _read(f'{HEVY}\nPush,"{start}","{end}",,Bench Press,,,0,normal,60,8,,,').workouts.iloc[0]
    assert (None if pd.isna(workout["duration_seconds"]) else workout["duration_seconds"]) == seconds
    assert (None if pd.isna(workout["ended_at_local"]) else workout["ended_at_local"]) == ended_at_local


@pytest.mark.parametrize(
    "name",
    ["Pull Up (Assisted)", "Machine assist dip", "Klimmzug (Unterstützt)", "Klimmzug (Unterstuetzt)", "Bandunterstützte Klimmzüge",
     "Dips (Assistiert)", "Brustdips (Unterstützt)", "Klimmzug zur Brust, unterstützt", "Fondos asistidos", "Dominadas con ayuda",
     "Tractions assistées", "Trazioni assistite", "Barra fixa assistida", "Barra fixa no graviton", "Optrekken (Geassisteerd)",
     "Optrekken (Ondersteund)", "Assisterade chins", "Chins med hjälp", "Assisteret dip", "Podciąganie wspomagane", "Leuanveto avustettuna"],
)  # fmt: skip
def test_an_exercise_with_help_is_told_by_its_name_in_every_language(name: str) -> None:
    assert values.is_assisted(name)


@pytest.mark.parametrize(
    "name",
    ["Pull Up", "Unassisted Pull Up", "Pull Up (not assisted)", "Klimmzug ohne Unterstützung", "Dominadas sin asistencia",
     "Brustunterstütztes Rudern", "Rudern (Brust unterstützt)", "Roeien, borst ondersteund", "Chest Supported Row", "Dips", "💪"],
)  # fmt: skip
def test_an_exercise_without_help_isnt_assisted_whatever_its_name_sounds_like(name: str) -> None:
    assert not values.is_assisted(name)


@pytest.mark.parametrize(
    ("written", "rpe"), [("8", 8.0), ("7,5", 7.5), ("10", 10.0), ("0", None), ("0.0", None), ("11", None), ("hard", None), ("", None)]
)
def test_rpe_counts_from_1_to_10_and_never_costs_the_set(written: str, rpe: float | None) -> None:
    found = _strong(_set(rpe=f'"{written}"')).sets["rpe"]
    assert found.isna().all() if rpe is None else found.tolist() == [rpe]


def test_reps_in_reserve_give_the_rpe_where_none_is_logged() -> None:
    header = "Name,StartTime,EndTime,BodyWeight,Exercise,Equipment,Reps,Weight,Time,Distance,Status,IsWarmup,RPE,RIR,Categories,Note"
    start = "Upper,2025-06-02T17:00:00Z,2025-06-02T18:15:00Z,80,Bench Press,Barbell,5,60,,,Done"
    log = _read("\n".join([header, f"{start},true,,2,Chest,", f"{start},false,8,0,Chest,", f"{start},false,,,Chest,"]))
    assert log.sets["rpe"].fillna(0).tolist() == [8.0, 8.0, 0.0]
    assert log.sets["set_type"].tolist() == ["warmup", "normal", "normal"]
    assert log.workouts["started_at_utc"].tolist() == [pd.Timestamp("2025-06-02 17:00", tz="UTC")]
    assert log.workouts["duration_seconds"].tolist() == [4500]


# -- dates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    ["30 Jun 2025, 19:56", "Jun 30, 2025, 7:56 PM", "Jun 30, 2025, 7:56\u202fPM", "30. Juni 2025, 19:56", "30. Jun. 2025 um 19:56", "30 juin 2025 à 19:56",
     "30 jun 2025, 19:56", "30 de jun. de 2025, 19:56", "30 giu 2025, 19:56", "30 de junho de 2025, 19:56", "30 jun. 2025 19:56", "30 cze 2025, 19:56",
     "lun 30 jun 2025 7:56 p. m.", "2025-06-30T19:56", "30.06.2025 19:56", "30/06/2025 19:56", "6/30/2025 7:56 PM", "2025/06/30 19:56", "30 июн. 2025 г., 19:56",
     "30 haz 2025 19:56", "30 kesä 2025 19:56", "30 čvn 2025 19:56".replace("čvn", "červen")],
)  # fmt: skip
def test_an_instant_is_read_in_every_spelling(written: str) -> None:
    log = _read(f'{HEVY}\nPush,"{written}","{written}",,Bench Press,,,0,normal,60,8,,,')
    assert log.workouts["started_at_local"].tolist() == [pd.Timestamp("2025-06-30 19:56")]
    assert log.workouts["has_time"].tolist() == [True]


@pytest.mark.parametrize(
    ("month", "written"),
    [(1, "ene"), (1, "gen."), (1, "janv."), (2, "févr."), (2, "fev"), (3, "Mär"), (3, "März"), (3, "mrt"), (3, "mars"), (4, "abr"), (4, "avr."), (5, "Mai"), (5, "mag"),
     (5, "mei"), (7, "juil."), (7, "lug"), (8, "août"), (8, "ago"), (9, "sept."), (9, "set"), (10, "Okt"), (10, "out."), (10, "ott"), (12, "Dez"), (12, "déc."), (12, "dic"),
     (12, "dez"), (5, "maj"), (5, "maio"), (6, "giu"), (11, "nov.")],
)  # fmt: skip
def test_month_names_of_europe_are_known(month: int, written: str) -> None:
    log = _read(f'{HEVY}\nPush,"4 {written} 2025, 19:56","4 {written} 2025, 20:56",,Bench Press,,,0,normal,60,8,,,')
    assert log.workouts["started_at_local"].tolist() == [pd.Timestamp(2025, month, 4, 19, 56)]


def test_days_and_months_that_could_be_swapped_are_told_by_the_other_rows() -> None:
    rows = [f"{day},Legs,1h,Squat,1,60,8,0,0,,," for day in ("4/10/2022 18:00", "4/13/2022 18:00")]
    assert _strong(*rows).workouts["started_at_local"].tolist() == [pd.Timestamp("2022-04-10 18:00"), pd.Timestamp("2022-04-13 18:00")]
    rows = [f"{day},Legs,1h,Squat,1,60,8,0,0,,," for day in ("4/10/2022 18:00", "13/10/2022 18:00")]
    assert _strong(*rows).workouts["started_at_local"].tolist() == [pd.Timestamp("2022-10-04 18:00"), pd.Timestamp("2022-10-13 18:00")]


def test_dates_without_time_make_one_workout_a_day() -> None:
    rows = [f"2024-03-0{day},{name},Back,50.0,kgs,10,,,," for day, name in ((1, "Row"), (2, "Row"), (1, "Curl"))]
    log = _read("\n".join([FITNOTES, *rows]))
    assert log.workouts["has_time"].tolist() == [False, False]
    assert log.sets["exercise_name"].tolist() == ["Row", "Curl", "Row"]
    assert log.sets["position"].tolist() == [0, 1, 0]


# -- rejections --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (_set(reps="877777"), "877777 reps in one set is impossible"),
        (_set(weight="1341"), "a load of 1,341 kg in Squat (Barbell) is impossible"),
        (_set(weight="-20"), "the weight “-20” is below zero"),
        (_set(reps="-3"), "the number of reps “-3” is below zero"),
        (_set(reps="eight"), "the number of reps “eight” isn't a number"),
        (_set(reps="7.5"), "7.5 reps isn't a whole number"),
        (_set(weight="heavy"), "the weight “heavy” isn't a number"),
        (_set(weight="1e999"), "the weight “1e999” isn't a number"),
        (_set(reps="0"), "the row has no reps, no time and no distance, so it isn't a set"),
        (_set(seconds="877777"), "a set of 877777 (over a day) is impossible"),
        (_set(seconds="9" * 400 + ":00:00"), f"the time “{'9' * 57}…” can't be read"),
        (_set(seconds="9" * 5000 + ":00:00"), f"the time “{'9' * 57}…” can't be read"),
        (_set(name='""'), "the row names no exercise"),
        (_set().replace("2024-03-05 18:30:00", ""), "the row has no date"),
        (_set().replace("2024-03-05", "2024-02-31"), "the date “2024-02-31 18:30:00” can't be read"),
        (_set().replace("2024-03-05", "0001-01-01"), "the date “0001-01-01 18:30:00” can't be read"),
        (_set().replace("2024-03-05 18:30:00", "yesterday"), "the date “yesterday” can't be read"),
    ],
)
def test_an_unusable_row_is_kept_with_its_line_text_and_reason(row: str, reason: str) -> None:
    log = _strong(_set(order="7"), row, _set(order="8"))
    assert log.rejected.values.tolist() == [[3, row, reason]]
    assert log.sets["line"].tolist() == [2, 4]


def test_machines_may_carry_more_than_a_barbell() -> None:
    log = _strong(_set(weight="900", name="Leg Press"), _set(weight="900", name="Deadlift"), _set(weight="1341", name="Leg Press"))
    assert (log.sets["weight_kg"].tolist(), len(log.rejected)) == ([900.0], 2)


def test_a_workout_whose_rows_are_all_unusable_isnt_there() -> None:
    log = _strong(_set(reps="0"))
    assert log.workouts.empty and log.sets.empty and len(log.rejected) == 1


@pytest.mark.parametrize("content", [b"", b"  \n\n", STRONG.encode(), b"\xef\xbb\xbf"])
def test_a_file_without_rows_is_an_error(content: bytes) -> None:
    with pytest.raises(EmptyFile, match=r"log\.csv"):
        _read(content)


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04rest", b'{"workouts": []}', b"a,b,c,d\n1,2,3,4", b"Date,Time,Measurement,Value,Unit\n", b"\x00\x01\x02\x03" * 50],
)
def test_a_file_of_somebody_else_is_an_error(content: bytes) -> None:
    with pytest.raises((UnknownFormat, EmptyFile), match=r"log\.csv"):
        _read(content)


# -- doubles -----------------------------------------------------------------------------------------------------------


def test_a_workout_that_strong_wrote_twice_counts_once() -> None:
    rows = [_set(), _set(order="2"), _set(order="3", reps="6")]
    log = _strong(*rows, *rows)
    assert (len(log.workouts), len(log.sets), log.duplicate_workouts, log.duplicate_rows) == (1, 3, 1, 3)
    assert log.sets["reps"].tolist() == [8, 8, 6]
    assert log.sets["position"].tolist() == [0, 1, 2]


def test_a_workout_doubled_row_by_row_counts_once() -> None:
    rows = [row for row in (_set(), _set(order="2"), _set(order="3", reps="6")) for _ in range(2)]
    log = _strong(*rows)
    assert (len(log.sets), log.duplicate_workouts) == (3, 1)


def test_a_workout_doubled_under_another_number_or_name_counts_once() -> None:
    header = "Workout #;Date;Workout Name;Exercise Name;Set Order;Weight (kg);Reps"
    rows = [f"{number};2024-03-05 18:30:00;Legs;Squat;{order};60;8" for number in (1, 2) for order in (1, 2)]
    log = _read("\n".join([header, *rows]))
    assert (len(log.workouts), len(log.sets), log.duplicate_workouts, log.duplicate_rows) == (1, 2, 1, 2)


def test_two_workouts_with_one_start_and_other_sets_both_stay() -> None:
    header = "Workout #;Date;Workout Name;Exercise Name;Set Order;Weight (kg);Reps"
    log = _read("\n".join([header, "1;2024-03-05 18:30:00;Legs;Squat;1;60;8", "2;2024-03-05 18:30:00;Legs;Squat;1;70;8"]))
    assert (len(log.workouts), log.duplicate_rows) == (2, 0)


def test_a_set_logged_twice_in_a_workout_that_isnt_doubled_stays() -> None:
    log = _strong(_set(order="W"), _set(order="W"), _set(order="1"), _set(order="2"))
    assert (len(log.sets), log.duplicate_rows) == (4, 0)


def test_identical_rows_of_fitnotes_are_real_sets() -> None:
    row = "2024-03-01,Row,Back,50.0,kgs,10,,,,"
    log = _read("\n".join([FITNOTES, row, row, row]))
    assert (len(log.sets), log.duplicate_rows) == (3, 0)


def test_starts_keep_their_wall_time_and_frames_their_types_even_when_empty() -> None:
    full, empty = _strong(_set()), _strong(_set(reps="0"))
    assert full.workouts["started_at_local"].tolist() == [datetime(2024, 3, 5, 18, 30)]
    assert full.workouts["started_at_utc"].isna().all()
    assert full.sets.dtypes.astype(str).to_dict() == empty.sets.dtypes.astype(str).to_dict()
    assert full.workouts.dtypes.astype(str).to_dict() == empty.workouts.dtypes.astype(str).to_dict()
