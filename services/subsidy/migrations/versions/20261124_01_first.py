"""The books: evidence, assessments, payouts, postings, batches."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261124_01"
down_revision = None
branch_labels = None
depends_on = None

HASHED = ("evidence", "payout", "posting")
HASH_PARTITIONS = 8
# The app role has SELECT and INSERT by default; what may change in place is exactly this.
MUTABLE = {
    "parcel": "update",
    "live_payout": "update, delete",
    "rollup": "update",
    "books_head": "update",
    "reassessment": "update",
    "consumed": "update",
    "watermark": "update",
}
GRANT = """do $$ begin
    execute format('grant {privileges} on {table} to %I', replace(current_user, '_owner', '_app'));
end $$"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")  # a migration that waits for a lock makes everybody behind it wait, too
    op.create_table(
        "assessment",
        sa.Column("parcel_key", sa.LargeBinary(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason_codes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("net_fen", sa.BigInteger(), nullable=False),
        sa.Column("held_fen", sa.BigInteger(), nullable=False),
        sa.Column("beneficiary_id", sa.Text(), nullable=True),
        sa.Column("station_id", sa.Text(), nullable=True),
        sa.Column("township_code", sa.Text(), nullable=True),
        sa.Column("service_date", sa.Date(), nullable=True),
        sa.Column("deciding_event_id", sa.LargeBinary(), nullable=True),
        sa.Column("policy_version", sa.Text(), nullable=True),
        sa.Column("decision_id", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("parcel_key", "batch_no", name=op.f("assessment_pk")),
    )
    op.create_index(op.f("assessment_service_date_ix"), "assessment", ["service_date"], unique=False)
    op.create_table(
        "batch",
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("next_position", sa.BigInteger(), nullable=False),
        sa.Column("registry_revision", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("partition", "batch_no", name=op.f("batch_pk")),
        sa.UniqueConstraint("recorded_at", name=op.f("batch_recorded_at_uq")),
        sa.UniqueConstraint("revision", name=op.f("batch_revision_uq")),
    )
    op.create_index(op.f("batch_partition_revision_ix"), "batch", ["partition", "revision"], unique=False)
    op.create_table(
        "books_head",
        sa.Column("one", sa.SmallInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("books_head_one_row_ck")),
        sa.PrimaryKeyConstraint("one", name=op.f("books_head_pk")),
    )
    op.create_table(
        "consumed",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=True),
        sa.Column("kafka_offset", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("asks", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("chain IS NOT NULL OR next_position = 0", name=op.f("consumed_consumed_chain_check_ck")),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("consumed_pk")),
    )
    op.create_table(
        "decision",
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("decision_id", sa.LargeBinary(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason_codes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("rate_id", sa.Text(), nullable=True),
        sa.Column("clauses", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("partition", "decision_id", name=op.f("decision_pk")),
    )
    op.create_table(
        "evidence",
        sa.Column("parcel_key", sa.LargeBinary(), nullable=False),
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("mapping_version", sa.Integer(), nullable=False),
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("scanned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("site_id", sa.LargeBinary(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("retracts_event_id", sa.LargeBinary(), nullable=True),
        sa.Column("retracts_previous_action", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("receipt_id", sa.Text(), nullable=False),
        sa.Column("raw_action", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("site_namespace", sa.Text(), nullable=False),
        sa.Column("site_code", sa.Text(), nullable=True),
        sa.Column("site_name", sa.Text(), nullable=True),
        sa.Column("verified", sa.Text(), nullable=False),
        sa.Column("payload_sha256", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("parcel_key", "event_id", "content", "mapping_version", name=op.f("evidence_pk")),
        postgresql_partition_by="HASH (parcel_key)",
    )
    op.create_index(
        op.f("evidence_site_id_partition_parcel_key_ix"),
        "evidence",
        ["site_id", "partition", "parcel_key"],
        unique=False,
        postgresql_where=sa.text("site_id IS NOT NULL"),
    )
    op.create_index(
        op.f("evidence_site_id_scanned_at_ix"),
        "evidence",
        ["site_id", "scanned_at"],
        unique=False,
        postgresql_where=sa.text(
            "site_id IS NOT NULL AND action IN "
            "('refused', 'returned', 'returning', 'signed', 'signed_by_agent', 'station_inbound', 'station_pickup')"
        ),
    )
    op.create_table(
        "hold",
        sa.Column("parcel_key", sa.LargeBinary(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("station_id", sa.Text(), nullable=True),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("parcel_key", "batch_no", name=op.f("hold_pk")),
    )
    op.create_table(
        "hold_release",
        sa.Column("parcel_key", sa.LargeBinary(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("released_batch_no", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("parcel_key", "batch_no", name=op.f("hold_release_pk")),
    )
    op.create_table(
        "live_payout",
        sa.Column("parcel_key", sa.LargeBinary(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("parcel_key", "scheme", name=op.f("live_payout_pk")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "parcel",
        sa.Column("parcel_key", sa.LargeBinary(), nullable=False),
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=False),
        sa.Column("waybill_no", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("net_fen", sa.BigInteger(), nullable=False),
        sa.Column("held_fen", sa.BigInteger(), nullable=False),
        sa.Column("beneficiary_id", sa.Text(), nullable=True),
        sa.Column("station_id", sa.Text(), nullable=True),
        sa.Column("township_code", sa.Text(), nullable=True),
        sa.Column("service_date", sa.Date(), nullable=True),
        sa.Column("hold_reason", sa.Text(), nullable=True),
        sa.Column("hold_batch_no", sa.BigInteger(), nullable=True),
        sa.Column("payouts", sa.Integer(), nullable=False),
        sa.Column("live_seq", sa.Integer(), nullable=True),
        sa.CheckConstraint("(net_fen > 0) <= (outcome is not distinct from 'payable')", name=op.f("parcel_net_is_payable_ck")),
        sa.CheckConstraint("(hold_batch_no is null) = (hold_reason is null)", name=op.f("parcel_hold_ck")),
        sa.CheckConstraint("(live_seq is not null) = (net_fen > 0)", name=op.f("parcel_live_is_net_ck")),
        sa.CheckConstraint("net_fen >= 0 and held_fen >= 0", name=op.f("parcel_amounts_ck")),
        sa.PrimaryKeyConstraint("parcel_key", name=op.f("parcel_pk")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "payout",
        sa.Column("parcel_key", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("reverses", sa.Integer(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("beneficiary_id", sa.Text(), nullable=False),
        sa.Column("station_id", sa.Text(), nullable=False),
        sa.Column("township_code", sa.Text(), nullable=True),
        sa.Column("service_date", sa.Date(), nullable=False),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("posted_date", sa.Date(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("reason_codes", sa.ARRAY(sa.Text()), nullable=False),
        sa.CheckConstraint("(kind in ('reversal', 'clawback')) = (amount_fen < 0)", name=op.f("payout_sign_ck")),
        sa.CheckConstraint(
            "(kind in ('reversal', 'clawback')) = (reverses is not null) and reverses < seq", name=op.f("payout_reverses_ck")
        ),
        sa.CheckConstraint("amount_fen <> 0", name=op.f("payout_amount_ck")),
        sa.PrimaryKeyConstraint("parcel_key", "seq", name=op.f("payout_pk")),
        postgresql_partition_by="HASH (parcel_key)",
    )
    op.create_index(op.f("payout_partition_batch_no_ix"), "payout", ["partition", "batch_no"], unique=False)
    op.create_index(op.f("payout_service_date_ix"), "payout", ["service_date"], unique=False)
    op.create_table(
        "period",
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.CheckConstraint("status in ('closing', 'closed')", name=op.f("period_status_ck")),
        sa.PrimaryKeyConstraint("period", "status", name=op.f("period_pk")),
    )
    op.create_table(
        "policy",
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("policy_version", name=op.f("policy_pk")),
    )
    op.create_table(
        "posting",
        sa.Column("parcel_key", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("debit", sa.Text(), nullable=False),
        sa.Column("credit", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("posting_positive_ck")),
        sa.CheckConstraint("debit <> credit", name=op.f("posting_two_accounts_ck")),
        sa.PrimaryKeyConstraint("parcel_key", "seq", "stage", name=op.f("posting_pk")),
        postgresql_partition_by="HASH (parcel_key)",
    )
    op.create_table(
        "reassessment",
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("asked_batch_no", sa.BigInteger(), nullable=False),
        sa.Column("site_ids", sa.ARRAY(sa.LargeBinary()), nullable=True),
        sa.Column("cursor", sa.LargeBinary(), nullable=False),
        sa.Column("done_batch_no", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("partition", "asked_batch_no", name=op.f("reassessment_pk")),
    )
    op.create_index(
        op.f("reassessment_partition_ix"), "reassessment", ["partition"], unique=False, postgresql_where=sa.text("done_batch_no IS NULL")
    )
    op.create_table(
        "registry_snapshot",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", "revision", name=op.f("registry_snapshot_pk")),
    )
    op.create_index(op.f("registry_snapshot_revision_ix"), "registry_snapshot", ["revision"], unique=False)
    op.create_table(
        "rollup",
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("station_id", sa.Text(), nullable=False),
        sa.Column("township_code", sa.Text(), nullable=False),
        sa.Column("service_date", sa.Date(), nullable=False),
        sa.Column("posted_date", sa.Date(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("parcels", sa.BigInteger(), nullable=False),
        sa.Column("accrued_fen", sa.BigInteger(), nullable=False),
        sa.Column("held_fen", sa.BigInteger(), nullable=False),
        sa.Column("posted_parcels", sa.BigInteger(), nullable=False),
        sa.Column("posted_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "partition",
            "service_date",
            "posted_date",
            "station_id",
            "township_code",
            "brand",
            "direction",
            "outcome",
            name=op.f("rollup_pk"),
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "site",
        sa.Column("site_id", sa.LargeBinary(), nullable=False),
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("site_code", sa.Text(), nullable=True),
        sa.Column("site_name", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("site_id", "partition", name=op.f("site_pk")),
    )
    op.create_table(
        "watermark",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("reached", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("watermark_pk")),
    )

    for table in HASHED:
        for n in range(HASH_PARTITIONS):
            op.execute(f"create table {table}_p{n} partition of {table} for values with (modulus {HASH_PARTITIONS}, remainder {n})")
    op.execute("insert into books_head (one, revision, recorded_at) values (1, 0, '-infinity')")
    for table, privileges in MUTABLE.items():
        op.execute(GRANT.format(table=table, privileges=privileges))


def downgrade() -> None:
    raise RuntimeError("the books only grow: restore a backup instead")
