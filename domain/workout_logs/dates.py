"""Instants as the apps spell them: ISO, 12-hour clocks, spreadsheets' dates, month names in the languages of Europe."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

from domain.workout_logs.columns import plain

FIRST_YEAR: Final = 1990
LAST_YEAR: Final = 2100
"""No lifting log is older than the apps' own import features reach, and none comes from the next century."""

# Abbreviations are prefixes of the names. Where two languages disagree about a prefix, the one further up wins, so the
# order is that of the apps' languages: those that Hevy and Strong speak first.
_MONTHS: Final = (
    ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"),
    ("januar", "februar", "märz", "april", "mai", "juni", "juli", "august", "september", "oktober", "november", "dezember"),
    ("jänner", "feber", "mrz", "april", "mai", "juni", "juli", "august", "september", "oktober", "november", "dezember"),
    ("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"),
    ("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
    ("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "setiembre", "oct", "nov", "dic"),
    ("gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno", "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"),
    ("janeiro", "fevereiro", "março", "abril", "maio", "junho", "julho", "agosto", "setembro", "outubro", "novembro", "dezembro"),
    ("januari", "februari", "maart", "april", "mei", "juni", "juli", "augustus", "september", "oktober", "november", "december"),
    ("januari", "februari", "mrt", "april", "maj", "juni", "juli", "augusti", "september", "oktober", "november", "december"),
    ("januar", "februar", "marts", "april", "maj", "juni", "juli", "august", "september", "oktober", "november", "desember"),
    ("styczeń", "luty", "marzec", "kwiecień", "maj", "czerwiec", "lipiec", "sierpień", "wrzesień", "październik", "listopad", "grudzień"),
    ("stycznia", "lutego", "marca", "kwietnia", "maja", "czerwca", "lipca", "sierpnia", "września", "października", "listopada", "grudnia"),
    ("leden", "únor", "březen", "duben", "květen", "červen", "červenec", "srpen", "září", "říjen", "listopad", "prosinec"),
    ("ledna", "února", "března", "dubna", "května", "června", "července", "srpna", "září", "října", "listopadu", "prosince"),
    ("ianuarie", "februarie", "martie", "aprilie", "mai", "iunie", "iulie", "august", "septembrie", "octombrie", "noiembrie", "decembrie"),
    ("január", "február", "március", "április", "május", "június", "július", "augusztus", "szeptember", "október", "november", "december"),
    ("ocak", "şubat", "mart", "nisan", "mayıs", "haziran", "temmuz", "ağustos", "eylül", "ekim", "kasım", "aralık"),
    ("tammikuu", "helmikuu", "maaliskuu", "huhtikuu", "toukokuu", "kesäkuu", "heinäkuu", "elokuu", "syyskuu",
     "lokakuu", "marraskuu", "joulukuu"),
    ("gener", "febrer", "març", "abril", "maig", "juny", "juliol", "agost", "setembre", "octubre", "novembre", "desembre"),
    ("январь", "февраль", "март", "апрель", "май", "июнь", "июль", "август", "сентябрь", "октябрь", "ноябрь", "декабрь"),
    ("января", "февраля", "марта", "апреля", "мая", "июня", "июля", "августа", "сентября", "октября", "ноября", "декабря"),
)  # fmt: skip


def _month_words() -> dict[str, int]:
    words: dict[str, int] = {}
    for names in _MONTHS:
        own: dict[str, set[int]] = {}
        for month, name in enumerate(names, start=1):
            word = plain(name)
            for length in range(min(3, len(word)), len(word) + 1):
                own.setdefault(word[:length], set()).add(month)
        for prefix, months in own.items():
            if len(months) == 1:
                words.setdefault(prefix, next(iter(months)))
    # A whole name beats another language's prefix.
    for names in reversed(_MONTHS):
        words.update({plain(name): month for month, name in enumerate(names, start=1)})
    return words


MONTH_WORDS: Final = _month_words()

_CLOCK = re.compile(r"(?<![\d:.])(\d{1,2})\s*[:hH]\s*(\d{2})(?:\s*:\s*(\d{2})(?:[.,](\d{1,9}))?)?(?![\d:])\s*(?:([ap])\s*\.?\s*m\b\.?)?")
_OFFSET = re.compile(r"(?:\s*(?:gmt|utc)?\s*([+-])(\d{2}):?(\d{2})?|\s*(z|utc|gmt))\s*$")
_YEAR_FIRST = re.compile(r"(\d{4})\s*[-/.]\s*(\d{1,2})\s*[-/.]\s*(\d{1,2})")
_YEAR_LAST = re.compile(r"(\d{1,2})\s*([-/.])\s*(\d{1,2})\s*[-/.]\s*(\d{4}|\d{2})(?!\d)")
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+")
_COMPACT = re.compile(r"\d{8}")


class NotADate(ValueError):
    """A text that names no instant or day."""


@dataclass(frozen=True, slots=True)
class Instant:
    """When something started as written: wall time, offset from UTC if the text names one, whether it names a time at all."""

    local: datetime
    offset: timedelta | None
    has_time: bool

    @property
    def utc(self) -> datetime | None:
        if self.offset is None:
            return None
        return self.local.replace(tzinfo=timezone(self.offset)).astimezone(UTC)


@lru_cache(maxsize=65536)
def read_instant(text: str, *, day_first: bool = True) -> Instant:
    """The instant that a cell names. `day_first` settles 04/10/2022. Raises NotADate."""
    rest = re.sub(r"\s+", " ", text).strip().strip("'\"").lower()
    rest = re.sub(r"[年月]", "-", rest).replace("日", " ")
    if not rest:
        raise NotADate(text)
    rest = re.sub(r"(?<=\d)t(?=\d{1,2}:)", " ", rest)
    offset: timedelta | None = None
    clock = _CLOCK.search(rest)
    hour = minute = second = microsecond = 0
    if clock:
        hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
        microsecond = int((clock[4] or "").ljust(6, "0")[:6] or 0)
        if clock[5]:
            if not 1 <= hour <= 12:
                raise NotADate(text)
            hour = hour % 12 + (12 if clock[5] == "p" else 0)
        behind = _OFFSET.fullmatch(rest[clock.end() :])
        if behind:
            if behind[4]:
                offset = timedelta(0)
            else:
                size = timedelta(hours=int(behind[2]), minutes=int(behind[3] or 0))
                offset = size if behind[1] == "+" else -size
            rest = rest[: clock.start()]
        else:
            rest = f"{rest[: clock.start()]} {rest[clock.end() :]}"
    year, month, day = _read_day(rest, text, day_first=day_first)
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise NotADate(text)
    try:
        local = datetime(year, month, day, hour, minute, second, microsecond)  # noqa: DTZ001 - exports carry wall time
    except ValueError as error:
        raise NotADate(text) from error
    return Instant(local, offset, clock is not None)


def _read_day(rest: str, text: str, *, day_first: bool) -> tuple[int, int, int]:
    found = _YEAR_FIRST.search(rest)
    if found:
        return int(found[1]), int(found[2]), int(found[3])
    found = _YEAR_LAST.search(rest)
    if found:
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        year += 2000 if year < 100 else 0
        if found[2] == ".":
            day_first = True
        if first > 12:
            day_first = True
        elif second > 12:
            day_first = False
        return (year, second, first) if day_first else (year, first, second)
    # The last one: `mar. 3 juin` begins with a Tuesday, not with March.
    months = [MONTH_WORDS[word] for word in map(plain, _WORD.findall(rest)) if word in MONTH_WORDS]
    month = months[-1] if months else None
    numbers = _NUMBER.findall(rest)
    if month is None:
        compact = _COMPACT.fullmatch(rest.strip())
        if compact:
            return int(rest[:4]), int(rest[4:6]), int(rest[6:8])
        raise NotADate(text)
    years = [number for number in numbers if len(number) == 4]
    days = [number for number in numbers if len(number) <= 2]
    if len(years) != 1 or len(days) != 1:
        raise NotADate(text)
    return int(years[0]), month, int(days[0])


def days_come_first(texts: Iterable[str]) -> tuple[bool, bool]:
    """Whether this file writes 04/10/2022 for the fourth of October, and whether that's sure.

    Evidence, in this order: a number over twelve in either place; the order of the rows, since every export is sorted;
    a 12-hour clock, which goes with the month first.
    """
    day_first_votes = month_first_votes = 0
    ambiguous: list[tuple[int, int, int]] = []
    twelve_hours = False
    for text in texts:
        found = _YEAR_LAST.search(text)
        if not found or found[2] == ".":
            continue
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        twelve_hours = twelve_hours or bool(re.search(r"[ap]\.?\s?m\b", text.lower()))
        if first > 12:
            day_first_votes += 1
        elif second > 12:
            month_first_votes += 1
        ambiguous.append((first, second, year))
    if day_first_votes or month_first_votes:
        return day_first_votes >= month_first_votes, True
    if not ambiguous or all(first == second for first, second, _ in ambiguous):
        return True, True
    by_day = _is_sorted([(year, second, first) for first, second, year in ambiguous])
    by_month = _is_sorted([(year, first, second) for first, second, year in ambiguous])
    if by_day != by_month:
        return by_day, True
    return not twelve_hours, False


def _is_sorted(days: list[tuple[int, int, int]]) -> bool:
    return days in (sorted(days), sorted(days, reverse=True))
