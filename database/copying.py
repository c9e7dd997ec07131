"""numpy columns into a table by binary COPY, without a Python object per row."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
"""What stands before and after the rows of every binary COPY: signature, no flags, no extension; -1 for the number of fields."""
ROWS_AT_ONCE: Final = 50_000
"""Rows laid out at a time, so that the padded form of a big table never stands in memory as a whole."""
_EPOCH_DIFFERENCE: Final = 946_684_800_000_000
"""Postgres counts microseconds from 2000."""


def copy_columns(connection: psycopg.Connection, table: str, columns: Mapping[str, NDArray[Any]], nullable: tuple[str, ...] = ()) -> int:
    """Append the rows to `schema.table`; returns their number.

    Types follow the arrays and must be the table's: int16/32/64, float32/64, bool, datetime64[us] (timestamptz), S (text, as UTF-8)
    and V16 (uuid). Null are: NaN, NaT, and in the columns named in `nullable` negative whole numbers and empty texts.
    """
    rows = len(next(iter(columns.values())))
    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
        sql.Identifier(*table.split(".")), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(HEADER)
        for start in range(0, rows, ROWS_AT_ONCE):
            part = {name: column[start : start + ROWS_AT_ONCE] for name, column in columns.items()}
            copy.write(binary_rows(part, nullable))
        copy.write(TRAILER)
    return rows


def binary_rows(columns: Mapping[str, NDArray[Any]], nullable: tuple[str, ...] = ()) -> bytes:
    """The rows in the binary COPY format: laid out in fixed widths first, then the bytes that aren't there are left out."""
    rows = len(next(iter(columns.values())))
    fields = [_field(column, name in nullable) for name, column in columns.items()]
    width = 2 + sum(4 + octets.shape[1] for octets, _ in fields)
    octets = np.empty((rows, width), dtype=np.uint8)
    octets[:, :2] = np.frombuffer(len(fields).to_bytes(2, "big"), dtype=np.uint8)
    there: NDArray[np.bool_] | None = None
    at = 2
    for content, length in fields:
        size = content.shape[1]
        if length is None:
            octets[:, at : at + 4] = np.frombuffer(size.to_bytes(4, "big"), dtype=np.uint8)
        else:
            octets[:, at : at + 4] = length.astype(">i4").view(np.uint8).reshape(rows, 4)
            if there is None:
                there = np.ones((rows, width), dtype=bool)
            there[:, at + 4 : at + 4 + size] = np.arange(size)[None, :] < length[:, None]
        octets[:, at + 4 : at + 4 + size] = content
        at += 4 + size
    return octets.tobytes() if there is None else octets[there].tobytes()


def _field(column: NDArray[Any], is_nullable: bool) -> tuple[NDArray[np.uint8], NDArray[np.int32] | None]:
    """(rows, width) big-endian bytes, and each row's length where it varies (-1: null)."""
    rows, kind = len(column), column.dtype.kind
    if kind == "S":
        width = column.dtype.itemsize
        content = np.ascontiguousarray(column).view(np.uint8).reshape(rows, width)
        length = np.char.str_len(column).astype(np.int32)
        if is_nullable:
            length[length == 0] = -1
        return content, length
    null: NDArray[np.bool_] | None = None
    if kind == "V":
        big = np.ascontiguousarray(column)
    elif kind == "M":
        instants = column.astype("datetime64[us]")
        null = np.isnat(instants)
        big = (np.where(null, 0, instants.view(np.int64)) - _EPOCH_DIFFERENCE).astype(">i8")
    elif kind == "b":
        big = column.astype(np.uint8)
    elif kind in "if":
        null = np.isnan(column) if kind == "f" else (column < 0 if is_nullable else None)
        big = column.astype(column.dtype.newbyteorder(">"))
    else:
        raise TypeError(f"No binary form for a column of {column.dtype}.")
    content = np.ascontiguousarray(big).view(np.uint8).reshape(rows, big.dtype.itemsize)
    if null is None or not null.any():
        return content, None
    return content, np.where(null, -1, big.dtype.itemsize).astype(np.int32)
