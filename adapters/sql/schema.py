"""The tables, as SQLAlchemy Core has them.

Columns are integers and bytes alone, so that the same statements run on PostgreSQL. Whoever changes a table adds a
migration (`migrations/versions`) and moves `REVISION`; a test holds that both ways lead to the same tables.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

REVISION: Final = "0002"
"""The migration that leads to these tables."""
CULM_VERSION: Final = "0.1.0"
"""The first version of culm that knows these tables."""
KNOWN_REVISIONS: Final = frozenset({"0001", "0002"})
"""Every migration of `migrations/versions`."""
APPLICATION_ID: Final = 0x63756C6D
"""What marks a SQLite file as culm's: its name in ASCII."""

metadata = MetaData()


class _Bytes(LargeBinary):
    """Bytes as the driver returns them, without a copy."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        """Need no processing."""


# SQLite numbers rows by itself in a column that is INTEGER and nothing else.
_RowNumber = BigInteger().with_variant(Integer, "sqlite")

documents = Table(
    "documents",
    metadata,
    Column("id", _RowNumber, primary_key=True),
    Column("document_id", _Bytes, nullable=False, unique=True),
    Column("sealed", _Bytes),
)

logs = Table(
    "logs",
    metadata,
    Column("id", _RowNumber, primary_key=True),
    Column("document", ForeignKey("documents.id"), nullable=False),
    Column("author", _Bytes, nullable=False),
    Column("log_id", _Bytes, nullable=False),
    UniqueConstraint("document", "author", "log_id", name="logs_by_key"),
)

# The body comes last: SQLite walks through what stands before a column to reach it.
operations = Table(
    "operations",
    metadata,
    Column("id", _RowNumber, primary_key=True),
    Column("document", ForeignKey("documents.id"), nullable=False),
    Column("arrival", BigInteger, nullable=False),
    Column("log", ForeignKey("logs.id"), nullable=False),
    Column("seq_num", BigInteger, nullable=False),
    Column("operation_id", _Bytes, nullable=False),
    Column("row_check", _Bytes, nullable=False),
    Column("header", _Bytes, nullable=False),
    Column("body", _Bytes),
    UniqueConstraint("document", "arrival", name="operations_by_arrival"),
    UniqueConstraint("log", "seq_num", name="operations_by_place"),
    UniqueConstraint("document", "operation_id", name="operations_by_id"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("document", ForeignKey("documents.id"), primary_key=True, autoincrement=False),
    Column("arrival", BigInteger, nullable=False),
    Column("row_check", _Bytes, nullable=False),
    Column("sealed", _Bytes, nullable=False),
)

records = Table(
    "records",
    metadata,
    Column("id", _RowNumber, primary_key=True),
    Column("document", ForeignKey("documents.id"), nullable=False),
    Column("name", _Bytes, nullable=False),
    Column("sealed", _Bytes, nullable=False),
    UniqueConstraint("document", "name", name="records_by_name"),
)

peers = Table(
    "peers",
    metadata,
    Column("id", _RowNumber, primary_key=True),
    Column("peer_id", _Bytes, nullable=False, unique=True),
    Column("seen_us", BigInteger, nullable=False),
    Column("addresses", _Bytes, nullable=False),
)

own_records = Table(
    "own_records",
    metadata,
    Column("id", _RowNumber, primary_key=True),
    Column("name", _Bytes, nullable=False, unique=True),
    Column("sealed", _Bytes, nullable=False),
)

acknowledged = Table(
    "acknowledged",
    metadata,
    Column("id", _RowNumber, primary_key=True),
    Column("document", ForeignKey("documents.id"), nullable=False),
    Column("log", ForeignKey("logs.id"), nullable=False),
    Column("peer_id", _Bytes, nullable=False),
    Column("height", BigInteger, nullable=False),
    UniqueConstraint("log", "peer_id", name="acknowledged_by_peer"),
)
Index("acknowledged_by_document", acknowledged.c.document)

schema_history = Table(
    "schema_history",
    metadata,
    Column("revision", String(32), primary_key=True),
    Column("culm_version", String(32), nullable=False),
)

alembic_version = Table(
    "alembic_version",
    MetaData(),  # Alembic's own table, not one of ours
    Column("version_num", String(32), primary_key=True),
)
