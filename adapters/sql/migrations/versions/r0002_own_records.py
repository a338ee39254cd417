"""Records of the node itself, which belong to no document."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"
branch_labels: Final = None
depends_on: Final = None

CULM_VERSION: Final = "0.1.0"
"""The first version of culm that knows this table."""

row_number: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "own_records",
        sa.Column("id", row_number, primary_key=True),
        sa.Column("name", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.execute(
        sa.text("INSERT INTO schema_history VALUES (:revision, :version)").bindparams(
            revision=revision, version=CULM_VERSION
        )
    )
