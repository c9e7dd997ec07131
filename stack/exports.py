"""Streams one mart into a file, as Parquet or CSV; memory stays the same whatever its size."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow import parquet

BATCH_BYTES: Final = 1024 * 1024
MARTS: Final = "marts"

Progress = Callable[[int], None]
"""Called with the rows written so far."""


class ExportFormat(StrEnum):
    PARQUET = "parquet"
    CSV = "csv"


class UnknownMart(ValueError):
    """There is no mart of this name."""


@dataclass(frozen=True)
class Mart:
    """A relation of the marts schema with its columns and their types, in order."""

    name: str
    columns: tuple[tuple[str, str], ...]
    rows: int


def find_mart(connection: psycopg.Connection, name: str) -> Mart:
    """The mart `name` (with or without its schema) and its exact number of rows; raises UnknownMart with the names that exist."""
    name = name.removeprefix(f"{MARTS}.")
    columns = connection.execute(
        """
        select a.attname, format_type(a.atttypid, a.atttypmod)
        from pg_attribute a join pg_class c on c.oid = a.attrelid
        where c.relnamespace = %s::regnamespace and c.relname = %s and c.relkind in ('r', 'm', 'v', 'p') and has_table_privilege(c.oid, 'select')
          and a.attnum > 0 and not a.attisdropped
        order by a.attnum
        """,
        [MARTS, name],
    ).fetchall()
    if not columns:
        known = [
            row[0]
            for row in connection.execute(
                "select relname from pg_class where relnamespace = %s::regnamespace and relkind in ('r', 'm', 'v', 'p')"
                " and has_table_privilege(oid, 'select') order by 1",
                [MARTS],
            ).fetchall()
        ]
        raise UnknownMart(f"There is no mart {name!r}. There are: {', '.join(known)}.")
    counted = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(MARTS, name))).fetchone()
    return Mart(name, tuple((column, kind) for column, kind in columns), int(counted[0]) if counted else 0)


def export(url: str, connection: psycopg.Connection, mart: Mart, target: Path, form: ExportFormat, progress: Progress) -> int:
    """Write `mart` to `target`; returns the rows written. A file that was not finished is removed."""
    beside = target.with_name(f".{target.name}.part")
    try:
        written = _to_csv(connection, mart, beside, progress) if form is ExportFormat.CSV else _to_parquet(url, mart, beside, progress)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return written


def _to_csv(connection: psycopg.Connection, mart: Mart, target: Path, progress: Progress) -> int:
    query = sql.SQL("copy (select * from {}) to stdout (format csv, header)").format(sql.Identifier(MARTS, mart.name))
    rows = 0
    with target.open("wb") as file, connection.cursor() as cursor, cursor.copy(query) as copy:
        for block in copy:
            file.write(block)
            rows += 1
            if rows % 10_000 == 0:
                progress(rows)
    progress(max(rows - 1, 0))
    return max(rows - 1, 0)  # the header is a row of the protocol, too


def _to_parquet(url: str, mart: Mart, target: Path, progress: Progress) -> int:
    # Arrow has no type for numeric without a scale, nor for json: exact numbers go as doubles, json as text.
    columns = sql.SQL(", ").join(
        sql.SQL("{}::{} as {}").format(sql.Identifier(name), sql.SQL(_portable(kind)), sql.Identifier(name)) for name, kind in mart.columns
    )
    query = sql.SQL("select {} from {}").format(columns, sql.Identifier(MARTS, mart.name)).as_string()
    rows = 0
    # ADBC's dbapi module imports pandas, which alone takes 70 of the 200 MB that an export may use.
    with (
        adbc_driver_postgresql.connect(url) as database,
        adbc.AdbcConnection(database) as connection,
        adbc.AdbcStatement(connection) as statement,
    ):
        statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
        statement.set_sql_query(query)
        pa.set_memory_pool(pa.system_memory_pool())
        stream, _ = statement.execute_query()
        reader = pa.RecordBatchReader._import_from_c(stream.address)
        with parquet.ParquetWriter(target, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
                rows += batch.num_rows
                progress(rows)
    return rows


def _portable(kind: str) -> str:
    if kind.startswith("numeric"):
        return "double precision"
    if kind in {"json", "jsonb", "uuid", "interval"}:
        return "text"
    return kind
