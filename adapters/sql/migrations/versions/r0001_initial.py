"""The first tables."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None
branch_labels: Final = None
depends_on: Final = None

CULM_VERSION: Final = "0.1.0"
"""The first version of culm that knows these tables."""

row_number: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _make_tables_of_operations()
    _make_tables_beside_them()
    op.execute(
        sa.text("INSERT INTO schema_history VALUES (:revision, :version)").bindparams(
            revision=revision, version=CULM_VERSION
        )
    )


def _make_tables_of_operations() -> None:
    op.create_table(
        "documents",
        sa.Column("id", row_number, primary_key=True),
        sa.Column("document_id", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("sealed", sa.LargeBinary),
    )
    op.create_table(
        "logs",
        sa.Column("id", row_number, primary_key=True),
        sa.Column("document", row_number, sa.ForeignKey("documents.id"), nullable=False),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("log_id", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("document", "author", "log_id", name="logs_by_key"),
    )
    op.create_table(
        "operations",
        sa.Column("id", row_number, primary_key=True),
        sa.Column("document", row_number, sa.ForeignKey("documents.id"), nullable=False),
        sa.Column("arrival", sa.BigInteger, nullable=False),
        sa.Column("log", row_number, sa.ForeignKey("logs.id"), nullable=False),
        sa.Column("seq_num", sa.BigInteger, nullable=False),
        sa.Column("operation_id", sa.LargeBinary, nullable=False),
        sa.Column("row_check", sa.LargeBinary, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary),
        sa.UniqueConstraint("document", "arrival", name="operations_by_arrival"),
        sa.UniqueConstraint("log", "seq_num", name="operations_by_place"),
        sa.UniqueConstraint("document", "operation_id", name="operations_by_id"),
    )


def _make_tables_beside_them() -> None:
    op.create_table(
        "snapshots",
        sa.Column(
            "document",
            row_number,
            sa.ForeignKey("documents.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("arrival", sa.BigInteger, nullable=False),
        sa.Column("row_check", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "records",
        sa.Column("id", row_number, primary_key=True),
        sa.Column("document", row_number, sa.ForeignKey("documents.id"), nullable=False),
        sa.Column("name", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("document", "name", name="records_by_name"),
    )
    op.create_table(
        "peers",
        sa.Column("id", row_number, primary_key=True),
        sa.Column("peer_id", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        sa.Column("addresses", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "acknowledged",
        sa.Column("id", row_number, primary_key=True),
        sa.Column("document", row_number, sa.ForeignKey("documents.id"), nullable=False),
        sa.Column("log", row_number, sa.ForeignKey("logs.id"), nullable=False),
        sa.Column("peer_id", sa.LargeBinary, nullable=False),
        sa.Column("height", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("log", "peer_id", name="acknowledged_by_peer"),
    )
    op.create_index("acknowledged_by_document", "acknowledged", ["document"])
    op.create_table(
        "schema_history",
        sa.Column("revision", sa.String(32), primary_key=True),
        sa.Column("culm_version", sa.String(32), nullable=False),
    )
