"""${message}."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = ${repr(up_revision)}
down_revision: Final = ${repr(down_revision)}
branch_labels: Final = None
depends_on: Final = None

CULM_VERSION: Final = "0.0.0"
"""The first version of culm that knows these tables."""


def upgrade() -> None:
    """Go from the revision before to this one."""
    ${upgrades if upgrades else "pass"}
    op.execute(
        sa.text("INSERT INTO schema_history VALUES (:revision, :version)").bindparams(
            revision=revision, version=CULM_VERSION
        )
    )
