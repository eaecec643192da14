"""The tables of the subsidy books, declared for Alembic; every statement that reads or writes them stands in `repository/`.

History (evidence, assessments, payouts, postings, holds, batches, registry snapshots, policies) is insert-only: the app role has no
UPDATE or DELETE there. What may change is named MUTABLE, and the migration grants exactly that.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from shared.log.tables import reader_tables
from shared.writes import kept_answers

HASH_PARTITIONS = 8  # of evidence, payout and posting, by parcel_key: the key that a cluster would shard by

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "ix": "%(table_name)s_%(column_0_N_name)s_ix",
        "uq": "%(table_name)s_%(column_0_N_name)s_uq",
        "ck": "%(table_name)s_%(constraint_name)s_ck",
    }
)


def _key(name: str = "parcel_key") -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _partition() -> Column[int]:
    """Of the scans log; −1 for what is written under the exclusive gate (registry, policies, periods)."""
    return Column("partition", SmallInteger, nullable=False)


def _batch(name: str = "batch_no", *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _at(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


reader_tables(metadata)
kept_answers(metadata)

# Every version of every event, as the log carried it.
Table(
    "evidence",
    metadata,
    _key(),
    Column("event_id", LargeBinary, nullable=False),  # 16 bytes of the UUID
    Column("content", LargeBinary, nullable=False),  # SHA-256
    Column("mapping_version", Integer, nullable=False),
    _partition(),
    _batch(),
    Column("position", BigInteger, nullable=False),  # of the log
    _text("feed"),
    _text("action"),
    _at("scanned_at"),
    Column("site_id", LargeBinary),  # shared.sites.site_id; null: the scan names no place
    _text("origin", nullable=True),
    Column("retracts_event_id", LargeBinary),
    _text("retracts_previous_action", nullable=True),
    _text("verdict"),
    _text("receipt_id"),
    _text("raw_action"),
    _at("received_at"),
    _text("site_namespace"),
    _text("site_code", nullable=True),
    _text("site_name", nullable=True),
    _text("verified"),
    Column("payload_sha256", LargeBinary, nullable=False),
    _text("destination", nullable=True),
    _text("order_no", nullable=True),
    PrimaryKeyConstraint("parcel_key", "event_id", "content", "mapping_version"),
    # a changed site finds a partition's parcels in key order, so that a re-assessment goes on where it stopped
    Index(None, "site_id", "partition", "parcel_key", postgresql_where=text("site_id IS NOT NULL")),
    # what closed a parcel at a site while nobody claimed it (domain.events.CLOSING_ACTIONS)
    Index(
        None,
        "site_id",
        "scanned_at",
        postgresql_where=text(
            "site_id IS NOT NULL AND action IN "
            "('refused', 'returned', 'returning', 'signed', 'signed_by_agent', 'station_inbound', 'station_pickup')"
        ),
    ),
    postgresql_partition_by="HASH (parcel_key)",
)

# Places that evidence names, as first told; one row per partition, so that workers share no row.
Table(
    "site",
    metadata,
    Column("site_id", LargeBinary, nullable=False),
    _partition(),
    _text("namespace"),
    _text("site_code", nullable=True),
    _text("site_name", nullable=True),
    PrimaryKeyConstraint("site_id", "partition"),
)

# A parcel that has had a closing action, and what its latest assessment says.
Table(
    "parcel",
    metadata,
    _key(),
    _partition(),
    _text("brand"),
    _text("waybill_no"),
    _text("direction"),
    _text("outcome", nullable=True),
    Column("net_fen", BigInteger, nullable=False),
    Column("held_fen", BigInteger, nullable=False),
    _text("beneficiary_id", nullable=True),
    _text("station_id", nullable=True),
    _text("township_code", nullable=True),
    Column("service_date", Date),
    _text("reason_code", nullable=True),  # the first
    _text("policy_version", nullable=True),  # that has decided
    _text("hold_reason", nullable=True),
    _batch("hold_batch_no", nullable=True),  # of the open hold
    Column("hold_subject", LargeBinary),  # what it is about; another subject is another hold
    Column("payouts", Integer, nullable=False),  # how many lines it has had; the next one's `seq`
    Column("live_seq", Integer),  # the line that stands; equal to live_payout
    Column("adjusted_fen", BigInteger, nullable=False, server_default=text("0")),  # what closings took off that line, and gave back
    PrimaryKeyConstraint("parcel_key"),
    CheckConstraint("net_fen >= 0 and held_fen >= 0", "amounts"),
    CheckConstraint("adjusted_fen <= 0 and net_fen + adjusted_fen >= 0", "adjusted"),
    CheckConstraint("(net_fen > 0) <= (outcome is not distinct from 'payable')", "net_is_payable"),
    CheckConstraint("(live_seq is not null) = (net_fen > 0)", "live_is_net"),
    CheckConstraint("(hold_batch_no is null) = (hold_reason is null)", "hold"),
    # the current state changes in place: room on the page keeps the indexes out of it
    postgresql_with={"fillfactor": "80"},
)

# Every assessment, also one that changed nothing.
Table(
    "assessment",
    metadata,
    _key(),
    _batch(),
    _partition(),
    _text("direction"),
    _text("outcome", nullable=True),
    Column("reason_codes", ARRAY(Text), nullable=False),
    Column("net_fen", BigInteger, nullable=False),
    Column("held_fen", BigInteger, nullable=False),
    _text("beneficiary_id", nullable=True),
    _text("station_id", nullable=True),
    _text("township_code", nullable=True),
    Column("service_date", Date),
    Column("deciding_event_id", LargeBinary),
    _text("policy_version", nullable=True),
    Column("decision_id", LargeBinary),
    PrimaryKeyConstraint("parcel_key", "batch_no"),
    Index(None, "service_date"),
)

# What a policy says of one assignment of the facts: the memo, kept.
Table(
    "decision",
    metadata,
    _partition(),
    Column("decision_id", LargeBinary, nullable=False),  # SHA-256 of policy version and facts, first half
    _batch(),
    _text("policy_version"),
    Column("facts", JSONB, nullable=False),
    _text("outcome"),
    Column("reason_codes", ARRAY(Text), nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
    _text("rate_id", nullable=True),
    Column("clauses", JSONB, nullable=False),  # [[clause_id, result], …] in order
    PrimaryKeyConstraint("partition", "decision_id"),
)

# One line of the statement: money promised (accrual), adjusted by a closing, or taken back (reversal). Its id is (parcel_key, seq).
Table(
    "payout",
    metadata,
    _key(),
    Column("seq", Integer, nullable=False),  # 0, 1, 2 … of the parcel
    _partition(),
    _batch(),
    _text("brand"),
    _text("scheme"),
    _text("kind"),
    Column("amount_fen", BigInteger, nullable=False),
    Column("reverses", Integer),
    _text("stage"),
    _text("beneficiary_id"),
    _text("station_id", nullable=True),  # null: uplink, from a place that is no registered station
    _text("township_code", nullable=True),
    Column("service_date", Date, nullable=False),
    _at("posted_at"),
    Column("posted_date", Date, nullable=False),  # the Shanghai day of posted_at
    _text("period"),
    _text("policy_version"),
    Column("reason_codes", ARRAY(Text), nullable=False),
    Column("adjusts", Integer),  # the accrual that an adjusting line, or the reversal of one, belongs to
    PrimaryKeyConstraint("parcel_key", "seq"),
    CheckConstraint("amount_fen <> 0", "amount"),
    CheckConstraint(
        "(kind in ('accrual', 'adjustment')) <= (amount_fen > 0) and (kind in ('cap', 'vesting', 'clawback')) <= (amount_fen < 0)", "sign"
    ),
    CheckConstraint(
        "(kind in ('cap', 'vesting', 'adjustment')) <= (adjusts is not null) and (kind in ('accrual', 'clawback')) <= (adjusts is null) "
        "and adjusts < seq",
        "adjusts",
    ),
    CheckConstraint("(kind in ('reversal', 'clawback')) = (reverses is not null) and reverses < seq", "reverses"),
    Index(None, "partition", "batch_no"),
    Index(None, "service_date"),
    postgresql_partition_by="HASH (parcel_key)",
)

# The one mutable pointer: which line of a parcel stands. A second one cannot be written.
Table(
    "live_payout",
    metadata,
    _key(),
    _text("scheme"),
    Column("seq", Integer, nullable=False),
    PrimaryKeyConstraint("parcel_key", "scheme"),
    postgresql_with={"fillfactor": "80"},
)

# Double entry in one row: an imbalance cannot be written.
Table(
    "posting",
    metadata,
    _key(),
    Column("seq", Integer, nullable=False),  # of the payout
    _text("stage"),
    _partition(),
    _batch(),
    _text("debit"),
    _text("credit"),
    Column("amount_fen", BigInteger, nullable=False),
    _text("period"),
    PrimaryKeyConstraint("parcel_key", "seq", "stage"),
    CheckConstraint("debit <> credit", "two_accounts"),
    CheckConstraint("amount_fen > 0", "positive"),
    postgresql_partition_by="HASH (parcel_key)",
)

# Additive deltas. `parcels … held_fen` sum over posted_date to the state by service date, `posted_…` over service_date to the ledger days.
Table(
    "rollup",
    metadata,
    _partition(),
    _text("station_id"),  # '' here and below: none, since a key has no nulls
    _text("township_code"),
    Column("service_date", Date, nullable=False),
    Column("posted_date", Date, nullable=False),
    _text("brand"),
    _text("direction"),
    _text("outcome"),
    _text("beneficiary_id"),
    _text("reason_code"),
    _text("policy_version"),
    Column("parcels", BigInteger, nullable=False),
    Column("accrued_fen", BigInteger, nullable=False),
    Column("held_fen", BigInteger, nullable=False),
    Column("posted_parcels", BigInteger, nullable=False),
    Column("posted_fen", BigInteger, nullable=False),
    PrimaryKeyConstraint(
        *("partition", "service_date", "posted_date", "station_id", "township_code", "brand", "direction", "outcome"),
        *("beneficiary_id", "reason_code", "policy_version"),
    ),
    postgresql_with={"fillfactor": "70"},
)

# A hold's id is (parcel_key, batch_no): one reason, one place, one subject. What changes is another hold.
Table(
    "hold",
    metadata,
    _key(),
    _batch(),
    _partition(),
    _text("reason_code"),
    _text("station_id", nullable=True),
    _text("placed_by"),
    Column("subject", LargeBinary),  # domain.fold.subject_of
    Column("held_fen", BigInteger, nullable=False),  # what it would be worth
    PrimaryKeyConstraint("parcel_key", "batch_no"),
)
Table(
    "hold_release",
    metadata,
    _key(),
    _batch(),
    _partition(),
    _batch("released_batch_no"),
    PrimaryKeyConstraint("parcel_key", "batch_no"),
)
# What people decided of holds, and the holds that they placed: at most one a parcel and batch of partition −1.
Table(
    "ruling",
    metadata,
    _key(),
    _batch(),  # of partition −1
    _text("brand"),
    _text("waybill_no"),  # a hold may be placed on a parcel that has no row of its own yet
    _text("decision"),
    _text("reason_code"),  # of the hold
    Column("subject", LargeBinary),  # of the hold; null: placed by hand
    Column("choices", JSONB, nullable=False),  # of a contested hold: [[event id, content that counts, digest of the contents seen], …]
    _text("said_by"),  # the token's subject
    _text("note"),
    PrimaryKeyConstraint("parcel_key", "batch_no"),
    CheckConstraint("decision in ('place', 'release', 'confirm')", "decision"),
    CheckConstraint("(decision = 'place') = (subject is null)", "subject"),
)

# One committed transaction of effects; `revision` rises in commit order.
Table(
    "batch",
    metadata,
    _partition(),
    _batch(),
    Column("next_position", BigInteger, nullable=False),
    Column("registry_revision", BigInteger),  # null before the first one
    Column("revision", BigInteger, nullable=False),
    _at("recorded_at"),
    PrimaryKeyConstraint("partition", "batch_no"),
    UniqueConstraint("revision"),
    UniqueConstraint("recorded_at"),
    Index(None, "partition", "revision"),
)
Table(
    "books_head",
    metadata,
    Column("one", SmallInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    _at("recorded_at"),
    PrimaryKeyConstraint("one"),
    CheckConstraint("one = 1", "one_row"),
)

Table(
    "registry_snapshot",
    metadata,
    _text("kind"),
    _text("id"),
    Column("revision", BigInteger, nullable=False),
    Column("document", JSONB, nullable=False),
    PrimaryKeyConstraint("kind", "id", "revision"),
    Index(None, "revision"),
)

# What a change behind the evidence asks to assess again; drained in key order by the partition's owner.
Table(
    "reassessment",
    metadata,
    _partition(),
    _batch("asked_batch_no"),  # of partition −1
    Column("site_ids", ARRAY(LargeBinary)),  # parcels with evidence at these sites
    Column("parcel_keys", ARRAY(LargeBinary)),  # these parcels; both null: every parcel
    Column("set_aside", Boolean, nullable=False, server_default=text("false")),  # no parcels: read again what was set aside
    Column("cursor", LargeBinary, nullable=False),  # parcels (of set_aside: positions, 8 bytes big-endian) up to here are done
    _batch("done_batch_no", nullable=True),
    PrimaryKeyConstraint("partition", "asked_batch_no"),
    Index(None, "partition", postgresql_where=text("done_batch_no IS NULL")),
)

# Declarations (申报) of merchants: one row a file, and one each of its rows with what became of it.
Table(
    "declaration",
    metadata,
    _text("declaration_id"),
    _batch(),  # of partition −1
    _text("merchant_id"),
    _text("format"),
    _text("file_name", nullable=True),
    Column("sha256", LargeBinary, nullable=False),  # of the file
    Column("rows", Integer, nullable=False),  # all of them are judged once so many are there
    _text("actor"),
    PrimaryKeyConstraint("declaration_id"),
    Index(None, "merchant_id"),
)
Table(
    "declaration_row",
    metadata,
    _text("declaration_id"),
    Column("row_no", Integer, nullable=False),  # of the file: the first line is 1
    _batch(),  # of partition −1
    _text("verdict"),
    _text("reason_code", nullable=True),
    _text("field", nullable=True),  # that the reason is about
    Column("parcel_key", LargeBinary),  # of a row that can be read, like all that follows
    _text("merchant_id", nullable=True),
    _text("brand", nullable=True),
    _text("waybill_no", nullable=True),
    Column("declared_on", Date),
    _text("platform", nullable=True),
    _text("order_no", nullable=True),
    _text("product", nullable=True),
    _text("destination", nullable=True),
    Column("freight_fen", BigInteger),
    PrimaryKeyConstraint("declaration_id", "row_no"),
    CheckConstraint("verdict in ('accepted', 'duplicate', 'refused')", "verdict"),
    CheckConstraint("(verdict = 'accepted') = (reason_code is null)", "reason"),
    CheckConstraint("verdict <> 'accepted' or parcel_key is not null", "accepted"),
    CheckConstraint("freight_fen > 0", "freight"),
    Index(None, "parcel_key"),
    Index(None, "platform", "order_no"),
    Index(None, "merchant_id"),
)
Table(
    "declaration_withdrawal",
    metadata,
    _text("declaration_id"),
    _batch(),  # of partition −1
    _text("actor"),
    _text("reason"),
    PrimaryKeyConstraint("declaration_id"),
)

# Values of the scans log that no scan could be read from; they are ours to mend, and nothing of them is in any total until then.
Table(
    "set_aside",
    metadata,
    _partition(),
    Column("position", BigInteger, nullable=False),
    _batch(),
    _text("reason_code"),
    _text("detail"),
    Column("sha256", LargeBinary, nullable=False),  # of the value: what the log's chain was extended with
    Column("value", LargeBinary, nullable=False),
    PrimaryKeyConstraint("partition", "position"),
)
# Those that a later worker could read: since this batch they are evidence.
Table(
    "set_aside_read",
    metadata,
    _partition(),
    Column("position", BigInteger, nullable=False),
    _batch(),
    PrimaryKeyConstraint("partition", "position"),
)

Table(
    "policy",
    metadata,
    _text("policy_version"),
    _batch(),  # of partition −1
    _text("sha256"),
    _text("document"),  # the file, as it was
    PrimaryKeyConstraint("policy_version"),
)

# What cursors are signed with.
Table(
    "cursor_key",
    metadata,
    Column("one", SmallInteger, nullable=False),
    Column("key", LargeBinary, nullable=False),
    PrimaryKeyConstraint("one"),
    CheckConstraint("one = 1", "one_row"),
)

# No row: open. A month opens with its first posting, and is closed with every month before it.
Table(
    "period",
    metadata,
    _text("period"),
    _batch(),  # of partition −1
    _text("status"),
    Column("actor", Text, nullable=False, server_default=text("'unknown'")),
    PrimaryKeyConstraint("period", "status"),
    CheckConstraint("status in ('closing', 'closed')", "status"),
)

# Sums of payout lines by month, kept beside them: what a close and a budget ask.
Table(
    "period_total",
    metadata,
    _partition(),
    _text("period"),
    _text("scheme"),
    Column("year", SmallInteger, nullable=False),  # of the service date: whose programme account it is
    _text("policy_version"),
    Column("parcels", BigInteger, nullable=False),  # accruals less their reversals
    Column("gross_fen", BigInteger, nullable=False),  # of the same lines
    Column("adjusted_fen", BigInteger, nullable=False),  # of all lines that adjust one, and their reversals
    PrimaryKeyConstraint("partition", "period", "scheme", "year", "policy_version"),
    postgresql_with={"fillfactor": "70"},
)

# What each step of a close set out to do, and what it did; both are history.
Table(
    "closing_step",
    metadata,
    _text("period"),
    _text("step"),
    _text("state"),
    _batch(),  # of partition −1
    Column("carried_in_fen", BigInteger, nullable=False),
    Column("excess_fen", BigInteger, nullable=False),  # what had to be taken back, or (negative) could be given back
    Column("adjusted_fen", BigInteger, nullable=False),  # planned: Σ of the plan; done: Σ of what was posted
    Column("lines", BigInteger, nullable=False),
    Column("carried_out_fen", BigInteger, nullable=False),
    PrimaryKeyConstraint("period", "step", "state"),
    CheckConstraint("state in ('planned', 'done')", "state"),
)

# What the current step has still to post: a line at a time, gone with the posting.
Table(
    "closing_plan",
    metadata,
    _text("period"),
    _key(),
    Column("seq", Integer, nullable=False),  # of the line to adjust
    _text("scheme"),
    _text("kind"),
    Column("amount_fen", BigInteger, nullable=False),
    _text("reason_code"),
    PrimaryKeyConstraint("period", "parcel_key", "seq"),
)

# Money given to the programme: double entry in one row, as a posting.
Table(
    "budget",
    metadata,
    _text("county_code"),
    _text("scheme"),
    Column("year", SmallInteger, nullable=False),
    _text("source"),
    _text("document"),  # that grants it; once each
    Column("amount_fen", BigInteger, nullable=False),
    _text("debit"),
    _text("credit"),
    _batch(),  # of partition −1
    _text("actor"),
    PrimaryKeyConstraint("county_code", "scheme", "year", "source", "document"),
    CheckConstraint("amount_fen > 0", "amount"),
    CheckConstraint("debit <> credit", "two_accounts"),
    CheckConstraint("source in ('province', 'city', 'county')", "source"),
)
