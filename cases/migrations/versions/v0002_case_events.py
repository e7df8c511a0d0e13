"""The outbox carries two topics, and the desk keeps how far each partition was judged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the topic of a message (all that wait are for `context`), and the table of what was judged."""
    op.add_column("outbox", sa.Column("topic", sa.String(32), nullable=True))
    op.execute("UPDATE outbox SET topic = 'context'")
    with op.batch_alter_table("outbox") as table:
        table.alter_column("topic", existing_type=sa.String(32), nullable=False)
    op.create_index("ix_outbox_topic_id", "outbox", ["topic", "id"])
    op.create_table(
        "judged",
        sa.Column("partition", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partition", name="pk_judged"),
    )


def downgrade() -> None:
    """Refuse: messages for `case-events` would be taken for verdicts."""
    raise NotImplementedError("this migration is not undone: restore a backup instead")
