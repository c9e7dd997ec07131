"""What one cell says: numbers, units, durations, set types. Each function reads one text; None is blank, Unreadable is neither."""

import math
import re
from typing import Final

from domain.vocabulary import KG_PER_LB, SetType
from domain.workout_logs.columns import plain


class Unreadable(ValueError):
    """A cell that holds something other than what its column promises."""


_BLANK: Final = frozenset({"", "-", "--", "–", "—", "n/a", "na", "nan", "null", "none", "nil"})

KG_PER_WEIGHT_UNIT: Final = {
    **dict.fromkeys(("kg", "kgs", "kilo", "kilos", "kilogram", "kilograms", "kilogramm", "kilogrammes", "kilogramos", "кг"), 1.0),
    **dict.fromkeys(("lb", "lbs", "pound", "pounds", "pfund", "libras", "livres", "libbre", "#"), KG_PER_LB),
}

METERS_PER_DISTANCE_UNIT: Final = {
    **dict.fromkeys(("km", "kms", "kilometer", "kilometers", "kilometre", "kilometres", "kilometros", "chilometri"), 1000.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres", "metros", "metri", "mtr", "mts"), 1.0),
    **dict.fromkeys(("mi", "mile", "miles", "meilen", "millas", "milhas", "miglia"), 1609.344),
    **dict.fromkeys(("ft", "foot", "feet"), 0.3048),
    **dict.fromkeys(("yd", "yds", "yard", "yards"), 0.9144),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 0.01),
    **dict.fromkeys(("in", "inch", "inches"), 0.0254),
}

SECONDS_PER_UNIT: Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sek", "sekunden", "seg", "segundos", "secondes", "secondi"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "minuten", "minutos", "minuti"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "std", "stunden", "heures", "horas", "ore"), 3600.0),
    **dict.fromkeys(("ms", "milliseconds"), 0.001),
}

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?")
_NUMBER_AND_UNIT = re.compile(r"([+-]?[\d.,'’  ]*\d)\s*([^\W\d_]+\.?)")
_DURATION_PART = re.compile(r"(\d+(?:[.,]\d+)?)\s*([^\W\d_]+)\.?")
_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,3}):(\d{1,2}(?:[.,]\d+)?)")


def is_blank(text: str) -> bool:
    return text.strip().lower() in _BLANK


def read_number(text: str, *, comma_is_decimal: bool) -> float | None:
    """A number in plain or grouped digits (`1,341.5`, `1.341,5`, `1 341`), with the file's decimal sign. Raises Unreadable."""
    if is_blank(text):
        return None
    digits = re.sub(r"[\s'’]", "", text)
    if "," in digits and "." in digits:
        comma_is_decimal = digits.rfind(",") > digits.rfind(".")
    if not comma_is_decimal:
        digits = digits.replace(",", "")
    elif "," in digits:  # without a comma, a point is decimal all the same: apps mix both signs in one file
        digits = digits.replace(".", "").replace(",", ".")
    if not _NUMBER.fullmatch(digits):
        raise Unreadable(text)
    value = float(digits)
    if not math.isfinite(value):
        raise Unreadable(text)
    return value


def read_number_with_unit(text: str, *, comma_is_decimal: bool) -> tuple[float | None, str | None]:
    """A number and the unit written behind it, if any (`80 kg`). Raises Unreadable."""
    found = _NUMBER_AND_UNIT.fullmatch(text.strip())
    if found and not is_blank(text):
        return read_number(found[1], comma_is_decimal=comma_is_decimal), plain(found[2])
    return read_number(text, comma_is_decimal=comma_is_decimal), None


def commas_are_decimal(cells: list[str], *, separator: str) -> bool:
    """Whether a file writes 62,5 for sixty-two and a half; `cells` are its weights and distances.

    `1,341` alone could mean either. It's a decimal comma when another cell shows one, or when the file's fields are
    separated by semicolons (as spreadsheets do where the comma is decimal) and no cell has a decimal point.
    """
    ambiguous = False
    point = False
    for cell in cells:
        if "," in cell:
            _, _, tail = cell.strip().rpartition(",")
            if "." in cell:
                if cell.rfind(",") > cell.rfind("."):
                    return True
                point = True
            elif len(re.match(r"\d*", tail)[0]) == 3:  # type: ignore[index]
                ambiguous = True
            else:
                return True
        elif "." in cell:
            point = True
    return ambiguous and not point and separator == ";"


def read_duration(text: str, *, seconds_per_number: float = 1.0, two_parts_are_hours: bool = False) -> float | None:
    """Seconds: `2h 18m`, `21min`, `45s`, `1:02:03`, `12:34` or a bare number in the column's unit. Raises Unreadable."""
    if is_blank(text):
        return None
    trimmed = text.strip()
    clock = _CLOCK.fullmatch(trimmed)
    if clock:
        first, middle, last = clock[1], int(clock[2]), float(clock[3].replace(",", "."))
        if first is not None:
            return int(first) * 3600 + middle * 60 + last
        return middle * 3600 + last * 60 if two_parts_are_hours else middle * 60 + last
    parts = _DURATION_PART.findall(trimmed)
    if parts and not _DURATION_PART.sub("", trimmed).strip(" ,.+&"):
        return sum(float(number.replace(",", ".")) * _seconds_per(unit, text) for number, unit in parts)
    number = read_number(trimmed, comma_is_decimal="," in trimmed)
    return None if number is None else number * seconds_per_number


def _seconds_per(unit: str, text: str) -> float:
    word = plain(unit)
    if word in SECONDS_PER_UNIT:
        return SECONDS_PER_UNIT[word]
    # First letters in the languages of the apps: heure, hodina; Stunde; ora; uur; timer; Minute; Sekunde; day, día, Tag, jour.
    for prefix, seconds in (("min", 60.0), ("sek", 1.0), ("sec", 1.0), ("seg", 1.0), ("st", 3600.0), ("h", 3600.0), ("o", 3600.0)):
        if word.startswith(prefix):
            return seconds
    if word in ("u", "uur", "uren", "t", "tim", "timer", "godz", "g"):
        return 3600.0
    if word in ("d", "day", "days", "tag", "tage", "j", "jour", "jours", "dia", "dias", "giorni", "giorno"):
        return 86400.0
    raise Unreadable(text)


_WARMUP_WORDS: Final = (
    "warm", "aufwarm", "echauff", "calent", "riscald", "aquec", "opwarm", "uppvarm", "oppvarm", "opvarm", "lammit", "rozgrz",
)  # fmt: skip
# Help with the own weight, in the languages of the apps. At the beginning of a word, so that `unassisted` isn't assisted.
_ASSISTED_WORDS: Final = (
    "assist", "asist", "asyst", "geassist", "unterstutz", "unterstuetz", "ondersteun", "auxiliad", "wspomagan", "avustet", "avustus",
    "dopomoc", "con ayuda", "avec aide", "com ajuda", "com auxilio", "con aiuto", "met hulp", "mit hilfe", "med hjalp", "med hjelp",
    "med hjælp",
)  # fmt: skip
_ASSISTING_MACHINES: Final = ("graviton", "gravitron", "гравитрон")
_HELPERS: Final = ("band", "gummiband", "maschinen", "machine", "partner", "selbst")
"""What German and Dutch write in one word with the help: `bandunterstützt`."""
_WITHOUT: Final = (
    "no", "non", "not", "without", "ohne", "nicht", "sans", "sin", "senza", "sem", "zonder", "niet", "utan", "uten", "uden", "bez",
)  # fmt: skip
_ASSISTED = re.compile(rf"(?<!\w)(?:{'|'.join(_HELPERS)})?(?:{'|'.join(_ASSISTED_WORDS + _ASSISTING_MACHINES)})")
_UNASSISTED = re.compile(rf"(?<!\w)(?:{'|'.join(_WITHOUT)}) (?:{'|'.join(_ASSISTED_WORDS)})")
# German and Dutch have one word for a pull-up with help and a row with the chest on a pad.
_CHEST_SUPPORTED_ROW = re.compile(r"(?=.*(?:brust|borst))(?=.*(?:ruder|row|roei))")
_DROP_WORDS: Final = ("drop", "degress", "descend", "decresc", "reduktion", "reduz", "abnehm", "stripping", "myo", "cluster", "rest pause")
_FAILURE_WORDS: Final = ("fail", "versag", "echec", "fallo", "cedim", "falha", "falen", "misslyck", "amrap", "porazk")
_REST_WORDS: Final = (
    "rest timer", "rest time", "rest", "ruhe", "pause", "pausa", "erholung", "repos", "recup", "descans", "recuper", "ripos",
    "rust", "vila", "hvile", "lepo", "odpocz", "przerw", "dinlen", "отдых", "休息", "休憩", "휴식",
)  # fmt: skip
_NOTE_WORDS: Final = ("note", "nota", "notiz", "anmerk", "kommentar", "comment", "coment", "opmerk", "anteck", "заметк", "メモ", "备注")
_NORMAL_WORDS: Final = ("normal", "work", "working", "regular", "standard", "arbeits", "travail", "trabajo", "left", "right")

REST = "rest"
NOTE = "note"
UNKNOWN = "unknown"


def read_set_mark(text: str) -> SetType | str:
    """What a set's number, letter or word says: a SetType, or REST, NOTE or UNKNOWN.

    Strong numbers its sets and writes W, D and F for warm-up, drop and failure sets; its rest timers and notes stand in
    rows of their own. Hevy writes words.
    """
    word = plain(text)
    if not word or re.fullmatch(r"\d+(?:[.,]0+)?", word):
        return SetType.NORMAL
    letter = re.fullmatch(r"([a-z])\s*\d*|\d*\s*([a-z])", word)
    if letter:
        letters = {
            "w": SetType.WARMUP,
            "d": SetType.DROP,
            "f": SetType.FAILURE,
            "n": SetType.NORMAL,
            "l": SetType.NORMAL,
            "r": SetType.NORMAL,
        }
        return letters.get(letter[1] or letter[2], UNKNOWN)
    # Drop before rest: "rest pause" is a way of doing a set, not a pause.
    for words, mark in (
        (_WARMUP_WORDS, SetType.WARMUP),
        (_DROP_WORDS, SetType.DROP),
        (_FAILURE_WORDS, SetType.FAILURE),
        (_REST_WORDS, REST),
        (_NOTE_WORDS, NOTE),
        (_NORMAL_WORDS, SetType.NORMAL),
    ):
        if any(stem in word for stem in words):
            return mark
    return UNKNOWN


def is_assisted(exercise_name: str) -> bool:
    """Whether the name says that the load of this exercise is help, so that less is more."""
    words = plain(exercise_name)
    return bool(_ASSISTED.search(words)) and not _UNASSISTED.search(words) and not _CHEST_SUPPORTED_ROW.match(words)


def is_true(text: str) -> bool:
    return plain(text) in {"true", "1", "yes", "y", "x", "ja", "oui", "si", "sim", "wahr", "vrai", "verdadero", "vero"}
