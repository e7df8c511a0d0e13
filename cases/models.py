"""The desk's tables: the same definitions serve SQLite (embedded) and PostgreSQL (distributed).

Times are int64 ms UTC. What the judge said is kept whole as JSON text (`body`); the columns beside it are what queries filter
on. Three tables are append-only (`alert_actions`, `case_events`, `audit`): the migration installs triggers that refuse UPDATE and
DELETE. `heads` hands out numbers inside the writing transaction, so that a number is visible only after all smaller ones are:
a reader that has seen event 7 will never meet a late event 6.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

APPEND_ONLY = ("alert_actions", "case_events", "audit")
"""Tables whose rows may never be changed or removed (promise 9)."""

alerts = Table(
    "alerts",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("rule", String(64), nullable=False),
    Column("site", String(128), nullable=False),
    Column("level", Integer, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("folded", Text),
    Column("state", String(16), nullable=False),
    Column("back_to", String(16)),  # the state before shelving, to which unshelving returns
    Column("judged", Integer, nullable=False),  # the level a person last decided on; a more severe one re-opens
    Column("seen", BigInteger, nullable=False),  # log time of the first version
    Column("respond_by", BigInteger, nullable=False),  # the earliest answer any version asked for; re-opening starts it anew
    Column("due", BigInteger),  # answer by (open) or close by (acked); shelving does not pause it
    Column("escalated", BigInteger),  # when its answer became overdue
    Column("shelved_until", BigInteger),
    Column("close_reason", String(32)),  # a code of moves.CLOSE_REASONS, cleared on re-opening
    Column("changed", BigInteger, nullable=False),  # when a person or the judge last changed this row
    Column("body", Text, nullable=False),
    Index("ix_alerts_state_seen", "state", "seen"),
    Index("ix_alerts_seen_id", "seen", "id"),
    Index("ix_alerts_site_seen", "site", "seen"),
)

alert_actions = Table(
    "alert_actions",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("alert", String(32), ForeignKey("alerts.id"), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("by", String(64), nullable=False),
    Column("role", String(32), nullable=False),
    Column("action", String(32), nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("body", Text, nullable=False),
)

leads = Table(
    "leads",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("type", String(64), nullable=False),
    Column("site", String(128), nullable=False),
    Column("level", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # open | withdrawn | dismissed | cased
    Column("judged", Integer, nullable=False),  # the level a person dismissed; a more severe one re-opens
    Column("seen", BigInteger, nullable=False),
    Column("due", BigInteger),  # decide by: a case, or dismissed with a reason
    Column("body", Text, nullable=False),
    Index("ix_leads_state_seen", "state", "seen"),
    Index("ix_leads_site_seen", "site", "seen"),
)

lead_alerts = Table(
    "lead_alerts",
    METADATA,
    Column("lead", String(32), ForeignKey("leads.id"), primary_key=True),
    Column("alert", String(32), primary_key=True, index=True),  # no foreign key: a lead may arrive before its alert
)

cases = Table(
    "cases",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("number", String(32), nullable=False),
    Column("lead", String(32), ForeignKey("leads.id"), nullable=False),
    Column("site", String(128), nullable=False),
    Column("level", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("opened", BigInteger, nullable=False),
    Column("opened_by", String(64), nullable=False),
    Column("since", BigInteger, nullable=False),  # when it entered its state
    Column("due", BigInteger),
    Column("assignee", Text),
    Column("verdict", String(16)),
    Column("finding", Text),
    Column("conclusion", Text),
    Column("closed", BigInteger),
    UniqueConstraint("number"),
    UniqueConstraint("lead"),
    Index("ix_cases_state_opened", "state", "opened"),
    Index("ix_cases_site_opened", "site", "opened"),
)

case_events = Table(
    "case_events",
    METADATA,
    Column("case", String(32), ForeignKey("cases.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("by", String(64), nullable=False),
    Column("role", String(32), nullable=False),
    Column("move", String(32), nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("body", Text, nullable=False),
)

case_numbers = Table(
    "case_numbers",
    METADATA,
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("last", Integer, nullable=False),
)

audit = Table(
    "audit",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("by", String(64), nullable=False),
    Column("role", String(32), nullable=False),
    Column("what", String(64), nullable=False),
    Column("subject", String(128), nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

heads = Table(
    "heads",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("hash", String(64)),  # of the last audit row: a cut tail is seen
)

people = Table(
    "people",
    METADATA,
    Column("person", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", String(32), nullable=False),
    Column("org", Text),
    Column("org_level", Text),
    Column("district", Text),
    Column("site", String(128)),
    Column("phone", Text),
)

keys = Table(
    "keys",
    METADATA,
    Column("id", String(16), primary_key=True),  # the public prefix of the secret
    Column("name", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("sites", Text),  # JSON array of site ids; null: every site
    Column("created", BigInteger, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("revoked", BigInteger),
)

desk_events = Table(
    "desk_events",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("site", String(128)),
    Column("body", Text, nullable=False),
)

outbox = Table(
    "outbox",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("site", String(128), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("topic", String(32), nullable=False),  # context | case-events
    Index("ix_outbox_topic_id", "topic", "id"),
)

judged = Table(
    "judged",
    METADATA,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),  # log time up to which the partition's worker has judged
    Column("counts", Text, nullable=False),  # the worker's books as a JSON object
)
