"""The desk's first tables, and the triggers that keep three of them append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("alert_actions", "case_events", "audit")
REFUSAL = "is append-only: nothing in it is changed or removed"


def big(name: str, *, null: bool = False) -> sa.Column[int]:
    """Return an int64 column (ms UTC, or a sequence)."""
    return sa.Column(name, sa.BigInteger(), nullable=null, autoincrement=False)


def small(name: str) -> sa.Column[int]:
    """Return an integer column."""
    return sa.Column(name, sa.Integer(), nullable=False, autoincrement=False)


def text(name: str, *, null: bool = False) -> sa.Column[str]:
    """Return a column of text without a limit."""
    return sa.Column(name, sa.Text(), nullable=null)


def word(name: str, length: int, *, null: bool = False) -> sa.Column[str]:
    """Return a column of short text."""
    return sa.Column(name, sa.String(length), nullable=null)


def primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    """Return a named primary key."""
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def foreign(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    """Return a named foreign key."""
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


def upgrade() -> None:
    """Create everything."""
    create_alerts()
    create_alert_actions()
    create_leads()
    create_cases()
    create_case_events()
    create_audit()
    create_people()
    create_outlets()
    for table in APPEND_ONLY:
        protect(table)


def create_alerts() -> None:
    """Create alerts."""
    op.create_table(
        "alerts",
        word("id", 32),
        big("seq"),
        word("rule", 64),
        word("site", 128),
        small("level"),
        sa.Column("active", sa.Boolean(), nullable=False),
        text("folded", null=True),
        word("state", 16),
        word("back_to", 16, null=True),
        small("judged"),
        big("seen"),
        big("respond_by"),
        big("due", null=True),
        big("escalated", null=True),
        big("shelved_until", null=True),
        word("close_reason", 32, null=True),
        big("changed"),
        text("body"),
        primary("alerts", "id"),
    )
    op.create_index("ix_alerts_state_seen", "alerts", ["state", "seen"])
    op.create_index("ix_alerts_seen_id", "alerts", ["seen", "id"])
    op.create_index("ix_alerts_site_seen", "alerts", ["site", "seen"])


def create_alert_actions() -> None:
    """Create what people did about alerts."""
    op.create_table(
        "alert_actions",
        sa.Column("id", sa.Integer(), nullable=False),
        word("alert", 32),
        big("at"),
        word("by", 64),
        word("role", 32),
        word("action", 32),
        word("before", 16),
        word("after", 16),
        text("body"),
        foreign("alert_actions", "alert", "alerts.id"),
        primary("alert_actions", "id"),
    )
    op.create_index("ix_alert_actions_alert", "alert_actions", ["alert"])


def create_leads() -> None:
    """Create leads and the alerts they rest on."""
    op.create_table(
        "leads",
        word("id", 32),
        big("seq"),
        word("type", 64),
        word("site", 128),
        small("level"),
        word("state", 16),
        small("judged"),
        big("seen"),
        big("due", null=True),
        text("body"),
        primary("leads", "id"),
    )
    op.create_index("ix_leads_state_seen", "leads", ["state", "seen"])
    op.create_index("ix_leads_site_seen", "leads", ["site", "seen"])
    op.create_table(
        "lead_alerts",
        word("lead", 32),
        word("alert", 32),
        foreign("lead_alerts", "lead", "leads.id"),
        primary("lead_alerts", "lead", "alert"),
    )
    op.create_index("ix_lead_alerts_alert", "lead_alerts", ["alert"])


def create_cases() -> None:
    """Create cases."""
    op.create_table(
        "cases",
        word("id", 32),
        word("number", 32),
        word("lead", 32),
        word("site", 128),
        small("level"),
        word("state", 16),
        small("version"),
        big("opened"),
        word("opened_by", 64),
        big("since"),
        big("due", null=True),
        text("assignee", null=True),
        word("verdict", 16, null=True),
        text("finding", null=True),
        text("conclusion", null=True),
        big("closed", null=True),
        foreign("cases", "lead", "leads.id"),
        primary("cases", "id"),
        sa.UniqueConstraint("lead", name="uq_cases_lead"),
        sa.UniqueConstraint("number", name="uq_cases_number"),
    )
    op.create_index("ix_cases_state_opened", "cases", ["state", "opened"])
    op.create_index("ix_cases_site_opened", "cases", ["site", "opened"])


def create_case_events() -> None:
    """Create the events of cases, and their numbers."""
    op.create_table(
        "case_events",
        word("case", 32),
        small("version"),
        big("at"),
        word("by", 64),
        word("role", 32),
        word("move", 32),
        word("before", 16),
        word("after", 16),
        text("body"),
        foreign("case_events", "case", "cases.id"),
        primary("case_events", "case", "version"),
    )
    op.create_table("case_numbers", small("year"), small("last"), primary("case_numbers", "year"))


def create_audit() -> None:
    """Create the hash-chained audit and the heads of all numbered streams."""
    op.create_table(
        "audit",
        big("seq"),
        big("at"),
        word("by", 64),
        word("role", 32),
        word("what", 64),
        word("subject", 128),
        text("body"),
        word("prev_hash", 64),
        word("hash", 64),
        primary("audit", "seq"),
    )
    op.create_index("ix_audit_subject", "audit", ["subject"])
    op.create_table("heads", word("name", 32), big("value"), word("hash", 64, null=True), primary("heads", "name"))


def create_people() -> None:
    """Create persons and API keys."""
    op.create_table(
        "people",
        word("person", 64),
        text("name"),
        word("role", 32),
        *(text(name, null=True) for name in ("org", "org_level", "district")),
        word("site", 128, null=True),
        text("phone", null=True),
        primary("people", "person"),
    )
    op.create_table(
        "keys",
        word("id", 16),
        text("name"),
        word("hash", 64),
        text("sites", null=True),
        big("created"),
        word("created_by", 64),
        big("revoked", null=True),
        primary("keys", "id"),
    )


def create_outlets() -> None:
    """Create the numbered streams that leave the desk: to the pages, and to the judge."""
    op.create_table(
        "desk_events",
        big("id"),
        big("at"),
        word("kind", 16),
        word("subject", 64),
        word("site", 128, null=True),
        text("body"),
        primary("desk_events", "id"),
    )
    op.create_table("outbox", big("id"), big("at"), word("site", 128), word("kind", 32), text("body"), primary("outbox", "id"))


def protect(table: str) -> None:
    """Install the triggers that refuse UPDATE and DELETE (and TRUNCATE on PostgreSQL) on a table."""
    if op.get_context().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} {REFUSAL}'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} {REFUSAL}'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )


def downgrade() -> None:
    """Refuse: going back would drop the audit."""
    raise NotImplementedError("the first migration is not undone: restore a backup instead")
