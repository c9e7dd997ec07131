"""Which column is which: headers of every app, version and language mapped to roles, never by position."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from domain.vocabulary import WorkoutSource


class Role(StrEnum):
    START = "start"
    END = "end"
    WORKOUT_NUMBER = "workout_number"
    WORKOUT_NAME = "workout_name"
    WORKOUT_NOTES = "workout_notes"
    WORKOUT_DURATION = "workout_duration"
    EXERCISE = "exercise"
    EQUIPMENT = "equipment"
    CATEGORY = "category"
    SET_ORDER = "set_order"
    SET_TYPE = "set_type"
    IS_WARMUP = "is_warmup"
    STATUS = "status"
    WEIGHT = "weight"
    WEIGHT_UNIT = "weight_unit"
    REPS = "reps"
    DISTANCE = "distance"
    DISTANCE_UNIT = "distance_unit"
    SECONDS = "seconds"
    RPE = "rpe"
    RIR = "rir"
    NOTES = "notes"
    SUPERSET = "superset"
    BODY_WEIGHT = "body_weight"


REPEATABLE: Final = frozenset({Role.WEIGHT, Role.DISTANCE})
"""Roles that may have several columns, one per unit."""

_WEIGHT_UNITS: Final = {"kg": "kg", "kgs": "kg", "kilograms": "kg", "kilos": "kg", "lb": "lb", "lbs": "lb", "pounds": "lb"}
_DISTANCE_UNITS: Final = {
    "km": "km", "kilometers": "km", "kilometres": "km", "m": "m", "meter": "m", "meters": "m", "metres": "m", "metros": "m",
    "metri": "m", "mi": "mi", "mile": "mi", "miles": "mi", "ft": "ft", "feet": "ft", "yd": "yd", "yards": "yd",
}  # fmt: skip
_TIME_UNITS: Final = {
    "s": "s", "sec": "s", "secs": "s", "seconds": "s", "sekunden": "s", "secondes": "s", "segundos": "s", "secondi": "s",
    "min": "min", "mins": "min", "minutes": "min", "minuten": "min", "h": "h", "hours": "h", "ms": "ms",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A recognised column: where it stands, what it is, and the unit that its header names (`kg`, `mi`, `s` …)."""

    index: int
    role: Role
    unit: str | None
    header: str


@lru_cache(maxsize=65536)
def plain(text: str) -> str:
    """Lower case without accents, punctuation as single blanks: `Nom de l'entraînement` -> `nom de l entrainement`."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(character for character in decomposed if not unicodedata.combining(character))
    return re.sub(r"[^\w#]+|_+", " ", letters).strip()


# Stems in English, German, French, Spanish, Italian, Portuguese, Dutch and the Scandinavian languages. A header is read by
# the ideas in it, so that `Nombre del ejercicio`, `Exercise Name` and `exercise_title` need no line of their own.
_STEMS: Final[dict[str, tuple[str, ...]]] = {
    "exercise": ("exerc", "ejerc", "eserc", "ubung", "uebung", "oefening", "ovning", "ovelse", "cwiczen", "упражнен"),
    "workout": ("workout", "entren", "entrain", "allenament", "treino", "training", "session", "seance", "sessione", "sesion", "trening"),
    "set": ("set", "serie", "satz", "reeks"),
    "name": ("name", "nom", "nome", "nombre", "naam", "namn", "navn", "title", "titel", "titre", "titulo", "titolo", "nazwa", "назван"),
    "notes": ("note", "notiz", "nota", "anmerk", "kommentar", "comment", "coment", "notit", "opmerk", "anteck", "bemerk", "remark",
              "descri",
              "beschreib", "заметк"),
    "duration": ("duration", "dauer", "duree", "duracion", "durata", "duracao", "duur", "varaktighet", "varighed", "varighet", "длител"),
    "date": ("date", "datum", "fecha", "data", "dato", "дата"),
    "start": ("start", "beginn", "begin", "debut", "inicio", "inizio", "comienzo"),
    "end": ("end", "ende", "fin", "fine", "fim", "eind"),
    "time": ("time", "zeit", "hora", "heure", "tiempo", "temps", "tempo", "ora", "tijd", "tid"),
    "order": ("order", "reihenfolge", "ordre", "orden", "ordine", "ordem", "volgorde", "ordning", "index", "rekkefolge", "kolejnosc",
              "порядок"),
    "number": ("number", "nummer", "numero", "nr", "#", "no", "id", "num"),
    "type": ("type", "typ", "tipo", "kind"),
    "weight": ("weight", "gewicht", "poids", "peso", "vikt", "vekt", "vaegt", "load", "charge", "carga", "carico", "ciezar", "вес"),
    "unit": ("unit", "einheit", "unite", "unidad", "unita", "unidade", "eenheid", "enhet"),
    "reps": ("rep", "ripet", "wiederh", "wdh", "herhaling", "gentag", "powtorz", "повтор"),
    "distance": ("distanc", "distanz", "entfern", "strecke", "distancia", "distanza", "afstand", "avstand", "dystans", "расстоян"),
    "seconds": ("second", "sekund", "segundo", "second", "secs", "sec", "секунд"),
    "body": ("body", "korper", "corpo", "corps", "lichaam", "kropp"),
    "warmup": ("warm", "aufwarm", "echauff", "calent", "riscald", "aquec"),
    "superset": ("superset", "super set", "supersatz", "superserie"),
    "category": ("categ", "kategor", "muscle", "muskel"),
    "equipment": ("equip", "gerat", "attrezz", "uitrusting", "utrustning"),
    "status": ("status", "estado", "stato", "state", "statut", "zustand", "complet", "done", "erledigt"),
}  # fmt: skip
_WHOLE_WORDS: Final = frozenset(
    {"#", "no", "nr", "id", "num", "sec", "end", "fin", "fine", "fim", "ora", "tid", "set", "data", "nom", "вес"}
)
"""Stems this short count only as whole words: `end` isn't in `weekend`, `id` isn't in `vidéo`."""


def _ideas(words: list[str]) -> set[str]:
    text = " ".join(words)
    found = set()
    for idea, stems in _STEMS.items():
        for stem in stems:
            if (
                stem in words
                or (stem not in _WHOLE_WORDS and any(word.startswith(stem) for word in words))
                or (" " in stem and stem in text)
            ):
                found.add(idea)
                break
    # Compounds: Workoutname, Übungsname, Trainingsnotizen, BodyWeight, StartTime.
    for idea in ("exercise", "workout", "weight", "notes", "body", "distance", "duration", "warmup", "unit"):
        if any(stem in word for stem in _STEMS[idea] if len(stem) > 3 for word in words):
            found.add(idea)
    for word in words:
        if len(word) > 5 and word.endswith(("name", "title")):
            found.add("name")
        if len(word) > 6 and word.endswith("time"):
            found.add("time")
    return found


def _role_of(header: str) -> tuple[Role | None, str | None]:
    """Role and unit of one header, without knowing the app; a bare time or duration comes back as SECONDS or WORKOUT_DURATION."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header.strip())
    words = plain(spaced).split()
    if not words:
        return None, None
    if len(words) == 1:
        word = words[0]
        if word in _WEIGHT_UNITS:
            return Role.WEIGHT, _WEIGHT_UNITS[word]
        if word in _DISTANCE_UNITS and word != "m":
            return Role.DISTANCE, _DISTANCE_UNITS[word]
        if word in ("rpe", "rir"):
            return Role(word), None
    ideas = _ideas(words)
    last = words[-1] if len(words) > 1 else ""

    def has(*wanted: str) -> bool:
        return ideas.issuperset(wanted)

    if "rpe" in words:
        return Role.RPE, None
    if "rir" in words:
        return Role.RIR, None
    if "rest" in words or "pause" in words:
        return None, None
    if has("superset"):
        return Role.SUPERSET, None
    if has("weight", "unit"):
        return Role.WEIGHT_UNIT, None
    if has("distance", "unit"):
        return Role.DISTANCE_UNIT, None
    if has("weight"):
        if has("body"):
            return Role.BODY_WEIGHT, None
        return Role.WEIGHT, _WEIGHT_UNITS.get(last)
    if has("distance"):
        return Role.DISTANCE, _DISTANCE_UNITS.get(last)
    if has("warmup"):
        return Role.IS_WARMUP, None
    if has("notes"):
        return (Role.WORKOUT_NOTES if has("workout") or "descri" in plain(header) else Role.NOTES), None
    if has("order") and not has("workout"):
        return Role.SET_ORDER, None
    if has("type") and (has("set") or len(words) == 1):
        return Role.SET_TYPE, None
    if has("start") or has("date"):
        return Role.START, None
    if has("end"):
        return Role.END, None
    if has("duration"):
        return (Role.SECONDS if has("set") or has("exercise") else Role.WORKOUT_DURATION), _TIME_UNITS.get(last)
    if has("exercise"):
        return (Role.CATEGORY if has("category") or has("type") else Role.EXERCISE), None
    if has("workout"):
        return (Role.WORKOUT_NUMBER if has("number") else Role.WORKOUT_NAME), None
    if has("reps"):
        return Role.REPS, None
    if has("seconds"):
        return Role.SECONDS, "s"
    if has("status"):
        return Role.STATUS, None
    if has("category"):
        return Role.CATEGORY, None
    if has("equipment"):
        return Role.EQUIPMENT, None
    if has("unit"):
        return (Role.WEIGHT_UNIT if len(words) == 1 else None), None
    if has("name"):
        return Role.WORKOUT_NAME, None
    if has("time"):
        return Role.SECONDS, _TIME_UNITS.get(last)
    if has("set"):
        return Role.SET_ORDER, None
    return None, None


def recognise(headers: Sequence[str]) -> list[Column]:
    """The columns of a header row that have a role, in file order. The first column of a role wins, except where several may be."""
    columns: list[Column] = []
    taken: set[Role] = set()
    for index, header in enumerate(headers):
        role, unit = _role_of(header)
        if role is None or (role in taken and role not in REPEATABLE):
            continue
        taken.add(role)
        columns.append(Column(index, role, unit, header.strip()))
    return columns


def detect_app(columns: Sequence[Column]) -> WorkoutSource | None:
    """Whose export has these columns: Strong numbers sets within a workout's name and date, Hevy knows start and end of a
    workout and names the set's type, FitNotes knows neither set numbers nor (in its older version) workouts. None: nobody's.
    """
    roles = {column.role for column in columns}
    if not {Role.START, Role.EXERCISE} <= roles or not roles & {Role.REPS, Role.WEIGHT, Role.SECONDS}:
        return None
    if {Role.STATUS, Role.IS_WARMUP} & roles and Role.SET_ORDER not in roles:
        return WorkoutSource.FITNOTES
    if (Role.SET_TYPE in roles and roles & {Role.END, Role.SET_ORDER, Role.WORKOUT_NAME}) or {Role.END, Role.SET_ORDER} <= roles:
        return WorkoutSource.HEVY
    if Role.SET_ORDER in roles or Role.WORKOUT_NAME in roles:
        return WorkoutSource.STRONG
    return WorkoutSource.FITNOTES


def for_app(columns: Sequence[Column], app: WorkoutSource) -> list[Column]:
    """The same columns where a word means something else in this app: Hevy's `duration_seconds` belongs to the set."""
    if app is not WorkoutSource.HEVY or any(column.role is Role.SECONDS for column in columns):
        return list(columns)
    return [
        Column(column.index, Role.SECONDS, column.unit, column.header) if column.role is Role.WORKOUT_DURATION else column
        for column in columns
    ]


_LANGUAGES: Final = (
    ("Dutch", ("oefening", "herhaling")),
    ("German", ("gewicht", "ubung", "wiederh", "dauer")),
    ("French", ("poids", "exercice", "seance", "entrainement")),
    ("Spanish", ("ejercicio", "repeticiones", "fecha")),
    ("Italian", ("esercizio", "ripetizioni", "allenamento")),
    ("Portuguese", ("exercicio", "repeticoes", "treino")),
    ("Swedish", ("ovning", "vikt")),
)


def language_of(headers: Sequence[str]) -> str:
    """Language of the headers, for the person who reads the report."""
    text = " ".join(plain(header) for header in headers)
    return next((language for language, stems in _LANGUAGES if any(stem in text for stem in stems)), "English")
