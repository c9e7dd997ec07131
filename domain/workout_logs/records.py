"""From bytes to rows of text: encodings, separators, and quoting that was never valid CSV."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from domain.workout_logs.errors import EmptyFile, UnknownFormat

SEPARATORS = (",", ";", "\t", "|")
LONGEST_RECORD_IN_LINES = 200
"""A note with more line breaks than this is taken for a quote that was never closed."""

MOST_REPAIRS = 3
"""A row with more unquoted separators, in several fields, isn't worth guessing at."""

_BINARY_STARTS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x1f\x8b": "a gzip archive",
    b"SQLite format 3\x00": "an SQLite database",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One row: the physical line on which it starts (1 = first line of the file), its own text, its fields."""

    line: int
    text: str
    fields: list[str]


def decode(content: bytes, *, file_name: str) -> str:
    """Text of an export: UTF-8 with or without a byte order mark, UTF-16, else Windows-1252. Line ends become `\\n`.

    Raises EmptyFile for a blank file and UnknownFormat for one that isn't text.
    """
    for start, what in _BINARY_STARTS.items():
        if content.startswith(start):
            raise UnknownFormat(f"{file_name} is {what}, not a text file. Export the workouts as CSV from the app and import that file.")
    text = _decode(content)
    # Postgres stores no NUL, and none belongs in a log.
    text = text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise EmptyFile(f"{file_name} is empty. Export the workouts from the app again.")
    return text


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if content.startswith(b"\xef\xbb\xbf"):
        return content.decode("utf-8-sig", errors="replace")
    head = content[:2000]
    if len(head) >= 4 and head.count(0) > len(head) // 4:
        # UTF-16 without a byte order mark: ASCII characters show on which side the zero bytes are.
        return content.decode("utf-16-le" if head[1::2].count(0) > head[0::2].count(0) else "utf-16-be", errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def split_fields(text: str, separator: str, *, doubled_quote_may_close: bool = False) -> list[str] | None:
    """Fields of one record, or None when a quoted field never ends.

    A quote opens only at the start of a field and closes only before a separator or the end; every other quote is a
    plain character, as in `Pause Deadlift 1"`. With `doubled_quote_may_close`, a doubled quote right before a separator is
    an inch sign and the end of the field (`"Deadlift 1"",`) instead of an escaped quote.
    """
    fields: list[str] = []
    at, end = 0, len(text)
    while True:
        if text.startswith('"', at):
            pieces: list[str] = []
            start = at + 1
            while True:
                quote = text.find('"', start)
                if quote < 0:
                    return None
                following = text[quote + 1 : quote + 2]
                if following == '"' and not (doubled_quote_may_close and text[quote + 2 : quote + 3] in ("", separator)):
                    pieces.append(text[start : quote + 1])
                    start = quote + 2
                elif following == '"':
                    pieces.append(text[start : quote + 1])
                    at = quote + 2
                    break
                elif following in ("", separator):
                    pieces.append(text[start:quote])
                    at = quote + 1
                    break
                else:
                    pieces.append(text[start : quote + 1])
                    start = quote + 1
            fields.append("".join(pieces))
        else:
            stop = text.find(separator, at)
            stop = end if stop < 0 else stop
            fields.append(text[at:stop])
            at = stop
        if at >= end:
            return fields
        at += 1
        if at == end:
            return [*fields, ""]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a row of this file looks like, as far as the reader of records must know."""

    separator: str
    width: int
    starts_record: Callable[[list[str]], bool]
    """Whether a line's fields begin a new record: a date in the date's column."""
    is_valid: Callable[[list[str]], bool]
    """Whether repaired fields make sense in every column."""
    text_columns: Sequence[int]
    """Where an unquoted separator may have stood, the likeliest column first."""


def read_records(lines: Sequence[str], layout: Layout, *, first_line: int) -> tuple[list[Record], list[tuple[int, str, str]]]:
    """Split physical lines into records; every line that isn't blank ends in exactly one of both results.

    Returns the records, each of the layout's width, and the unreadable ones as (line, text, reason).
    """
    quick = _read_well_formed(lines, layout, first_line)
    return (quick, []) if quick is not None else _read_tolerantly(lines, layout, first_line)


def _read_well_formed(lines: Sequence[str], layout: Layout, first_line: int) -> list[Record] | None:
    """The standard library's parser for files without any oddity; None at the first sign of one."""
    separator = layout.separator
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator)
    records: list[Record] = []
    append = records.append
    begin = 0
    try:
        for fields in reader:
            end = reader.line_num
            if not fields or (len(fields) == 1 and not fields[0].strip()):
                begin = end
                continue
            if len(fields) != layout.width:
                return None
            if end - begin > 1:
                later = [split_fields(line, separator) or line.split(separator) for line in lines[begin + 1 : end]]
                if any(layout.starts_record(parts) for parts in later) or '"' not in lines[end - 1]:
                    return None
                append(Record(first_line + begin, "\n".join(lines[begin:end]), fields))
            else:
                line = lines[begin]
                quotes = line.count('"')
                if quotes and quotes != _boundary_quotes(line, separator) and split_fields(line, separator) != fields:
                    return None
                append(Record(first_line + begin, line, fields))
            begin = end
    except csv.Error:
        return None
    return records


def _boundary_quotes(line: str, separator: str) -> int:
    """How many quotes stand where a field begins or ends; if all do, the line is plain CSV."""
    return line.count(f'{separator}"') + line.count(f'"{separator}') + line.startswith('"') + line.endswith('"')


def _read_tolerantly(lines: Sequence[str], layout: Layout, first_line: int) -> tuple[list[Record], list[tuple[int, str, str]]]:
    separator, width = layout.separator, layout.width
    starts = [layout.starts_record(split_fields(line, separator) or line.split(separator)) for line in lines]
    records: list[Record] = []
    surplus: list[tuple[int, str, list[str]]] = []
    unreadable: list[tuple[int, str, str]] = []
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        stop = at + 1
        while stop < len(lines) and not starts[stop] and stop - at < LONGEST_RECORD_IN_LINES:
            stop += 1
        fields, used = _one_record(lines, layout, at, stop)
        if fields is not None and len(fields) == 1 and records and not starts[at] and width - 1 in layout.text_columns:
            # A line break in an unquoted note at the end of the row before.
            before = records[-1]
            records[-1] = Record(before.line, f"{before.text}\n{lines[at]}", [*before.fields[:-1], f"{before.fields[-1]}\n{lines[at]}"])
            at += 1
            continue
        line, text = first_line + at, "\n".join(lines[at : at + used])
        at += used
        if fields is None:
            unreadable.append((line, text, "a quotation mark opens and never closes, and the columns can't be told apart"))
        elif len(fields) > width:
            surplus.append((line, text, fields))
        else:
            records.append(Record(line, text, fields + [""] * (width - len(fields))))
    known = [Counter(record.fields[column] for record in records) for column in range(width)] if surplus else []
    for line, text, fields in surplus:
        repaired = _join_surplus(fields, layout, known)
        if repaired is None:
            unreadable.append((line, text, f"the row has {len(fields)} columns where the header has {width}"))
        else:
            records.append(Record(line, text, repaired))
    records.sort(key=lambda record: record.line)
    return records, unreadable


def _one_record(lines: Sequence[str], layout: Layout, at: int, stop: int) -> tuple[list[str] | None, int]:
    """Fields of the record that starts on line `at`, and how many lines it takes; `stop` is where the next one surely starts."""
    separator, width = layout.separator, layout.width
    for reach in range(1, stop - at + 1):
        if reach > 1 and len(split_fields(lines[at + reach - 1], separator) or ()) == width:
            break  # a whole row of its own, without a usable date
        text = "\n".join(lines[at : at + reach])
        for doubled_quote_may_close in (False, True):
            fields = split_fields(text, separator, doubled_quote_may_close=doubled_quote_may_close)
            if fields is not None and len(fields) > width and not any(map(str.strip, fields[width:])) and layout.is_valid(fields[:width]):
                fields = fields[:width]  # separators too many at the end of the line
            if fields is not None and len(fields) == width:
                return fields, reach
    fields = split_fields(lines[at], separator)
    if fields is None:
        bare = [part.strip('"') for part in lines[at].split(separator)]
        return (bare if len(bare) == width else None), 1
    return fields, 1


def _join_surplus(fields: list[str], layout: Layout, known: list[Counter[str]]) -> list[str] | None:
    """Undo unquoted separators, the reading that makes the most sense; None if there is none.

    First all of them in one field (`Curl, Hammer`), then in several (`30 Jun 2025, 19:56` twice in a row).
    """
    extra = len(fields) - layout.width
    best = _best_joined(((column,) * extra for column in range(layout.width)), fields, layout, known)
    if best is None and 1 < extra <= MOST_REPAIRS:
        best = _best_joined(combinations_with_replacement(range(layout.width), extra), fields, layout, known)
    return best


def _best_joined(choices: Iterable[tuple[int, ...]], fields: list[str], layout: Layout, known: list[Counter[str]]) -> list[str] | None:
    """The best valid result of joining fields; each choice names the columns that take one field more, repeated for several."""
    best: tuple[tuple[int, int, int], list[str]] | None = None
    for columns in choices:
        joined: list[str] = []
        at = 0
        for column in range(layout.width):
            size = 1 + columns.count(column)
            joined.append(layout.separator.join(fields[at : at + size]))
            at += size
        if not layout.is_valid(joined):
            continue
        balanced = all(field.count("(") == field.count(")") for field in joined)
        familiar = sum(1 for index, field in enumerate(joined) if field and field in known[index])
        preference = sum(-layout.text_columns.index(c) if c in layout.text_columns else -len(layout.text_columns) - 1 for c in columns)
        score = (int(balanced), familiar, preference)
        if best is None or score > best[0]:
            best = (score, joined)
    return best[1] if best else None


def unwrap(lines: list[str]) -> list[str]:
    """Lines of a file in which a spreadsheet wrapped each whole row in quotes (`"a,""b"",c"`), unwrapped; others unchanged."""
    first = next((line for line in lines if line.strip()), "")
    if not (first.startswith('"') and first.endswith('"')):
        return lines
    if any(len(split_fields(first, separator) or ("", "")) != 1 for separator in SEPARATORS):
        return lines
    return [(split_fields(line, "\n") or [line])[0] for line in lines]


def unify(text: str) -> str:
    """Blanks of every kind (line breaks, non-breaking and narrow spaces) as single spaces, none at the ends."""
    return re.sub(r"\s+", " ", text).strip()
