"""Tables of the simulation as plain numpy columns, and how they look as pandas frames.

Conventions that keep a column one flat array: text is fixed-width ASCII bytes and empty text is null, negative numbers in
columns of whole numbers are null, NaN and NaT are null; UUIDs are sixteen raw bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Column = NDArray[Any]
Columns = dict[str, Column]


def text(values: Sequence[str | bytes]) -> NDArray[np.bytes_]:
    """Words to be picked by code: `text(["ios", "web"])[codes]`."""
    return np.array([value.encode() if isinstance(value, str) else value for value in values], dtype=np.bytes_)


def instants(microseconds: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """Microseconds since 1970 as UTC instants; negative ones as NaT."""
    return np.where(microseconds < 0, np.iinfo(np.int64).min, microseconds).view("datetime64[us]")


def rows_of(table: Columns) -> int:
    """Number of rows; 0 where there is no column."""
    return len(next(iter(table.values()))) if table else 0


def take(table: Columns, chosen: NDArray[Any]) -> Columns:
    """The rows where a mask is true, or at these positions."""
    return {name: column[chosen] for name, column in table.items()}


def concatenate(tables: Sequence[Columns]) -> Columns:
    """Rows of all tables, which have the same columns, in order."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def frame(table: Mapping[str, Column]) -> pd.DataFrame:
    """The table for people and tests: text decoded, instants in UTC, nulls as pandas has them."""
    result: dict[str, pd.Series] = {}
    for name, column in table.items():
        if column.dtype.kind == "S":
            decoded = pd.Series(np.char.decode(column, "ascii")).astype(object)
            result[name] = decoded.where(decoded != "", None)
        elif column.dtype.kind == "V":
            result[name] = pd.Series([str(UUID(bytes=value.tobytes())) for value in column], dtype=object)
        elif column.dtype.kind == "M":
            result[name] = pd.Series(pd.DatetimeIndex(column).tz_localize("UTC"))
        else:
            result[name] = pd.Series(column)
    return pd.DataFrame(result)
