"""Checksums of all rows, computed by PostgreSQL: only the sums leave the server."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from slipway.core import cancellation
from slipway.core.errors import Unavailable
from slipway.databases.checksums import ColumnSum, TableContents
from slipway.databases.database import DRIVER, Address

AT_ONCE = 2  # tables; PostgreSQL reads a large table with several workers

# Every ordinary table of the service and each partition, largest first, so that no large table is left for the end.
TABLES = """
SELECT n.nspname, c.relname,
       array_agg(a.attname::text ORDER BY a.attnum),
       coalesce((SELECT array_agg(k.attname::text ORDER BY k.attnum) FROM pg_index i
                 JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = ANY (i.indkey)
                 WHERE i.indrelid = c.oid AND i.indisprimary), '{}')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
GROUP BY c.oid, n.nspname, c.relname
ORDER BY pg_relation_size(c.oid) DESC, n.nspname, c.relname
"""


@dataclass(frozen=True)
class _Table:
    schema: str
    name: str
    columns: Sequence[str]
    key: Sequence[str]


def read_contents(database: Address) -> tuple[TableContents, ...]:
    """Return the checksums of every table, ordered by name. Raises Unavailable. Can be cancelled."""
    engine = create_engine(database.url.set(drivername=DRIVER), pool_size=AT_ONCE)
    try:
        with engine.connect() as connection:
            tables = [_Table(*row) for row in connection.execute(text(TABLES))]
        return tuple(sorted(_sum_all(engine, tables), key=lambda table: table.table))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise Unavailable(
            f"Could not compute the checksums of {database.name}: {reason}.", expected="A database that answers."
        ) from None
    finally:
        engine.dispose()


def _sum_all(engine: Engine, tables: Sequence[_Table]) -> list[TableContents]:
    pool = ThreadPoolExecutor(AT_ONCE)
    futures = [pool.submit(_sum, engine, table) for table in tables]
    try:
        pending = set(futures)
        while pending:
            _, pending = wait(pending, timeout=cancellation.EVERY_S)
            cancellation.check()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a running query ends when its database is dropped


def _sum(engine: Engine, table: _Table) -> TableContents:
    with engine.connect() as connection:
        rows, *sums = connection.execute(text(_query(table))).one()
    columns = [
        ColumnSum(name=name, present=sums[2 * n], checksum=sums[2 * n + 1]) for n, name in enumerate(table.columns)
    ]
    return TableContents(table=f"{table.schema}.{table.name}", rows=rows, columns=tuple(columns))


def _query(table: _Table) -> str:
    """Return the checksum query. The hash of the key seeds the hash of each value, so that swapped values change the sum."""
    seed = f"hashtextextended(ROW({', '.join(map(_quoted, table.key))})::text, 0)" if table.key else "0::bigint"
    sums = [
        f"count({column}), coalesce(sum(hashtextextended({column}::text, slipway_seed)), 0)::text"
        for column in map(_quoted, table.columns)
    ]
    name = f"{_quoted(table.schema)}.{_quoted(table.name)}"
    return f"SELECT {', '.join(['count(*)', *sums])} FROM (SELECT *, {seed} AS slipway_seed FROM {name}) AS keyed"  # noqa: S608 - names from the catalogue, quoted


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'.replace(":", "\\:")  # a colon starts a parameter in SQLAlchemy's text
