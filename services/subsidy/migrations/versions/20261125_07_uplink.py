"""Declarations, and what the fold reads of uplink parcels."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_07_uplink"
down_revision = "20261125_06_set_aside"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.add_column("evidence", sa.Column("destination", sa.Text(), nullable=True))
    op.add_column("evidence", sa.Column("order_no", sa.Text(), nullable=True))
    op.alter_column("payout", "station_id", nullable=True)
    op.create_table(
        "declaration",
        sa.Column("declaration_id", sa.Text(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("declaration_id", name=op.f("declaration_pk")),
    )
    op.create_index(op.f("declaration_merchant_id_ix"), "declaration", ["merchant_id"])
    op.create_table(
        "declaration_row",
        sa.Column("declaration_id", sa.Text(), nullable=False),
        sa.Column("row_no", sa.Integer(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("parcel_key", sa.LargeBinary(), nullable=True),
        sa.Column("merchant_id", sa.Text(), nullable=True),
        sa.Column("brand", sa.Text(), nullable=True),
        sa.Column("waybill_no", sa.Text(), nullable=True),
        sa.Column("declared_on", sa.Date(), nullable=True),
        sa.Column("platform", sa.Text(), nullable=True),
        sa.Column("order_no", sa.Text(), nullable=True),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("destination", sa.Text(), nullable=True),
        sa.Column("freight_fen", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("declaration_id", "row_no", name=op.f("declaration_row_pk")),
        sa.CheckConstraint("verdict in ('accepted', 'duplicate', 'refused')", name=op.f("declaration_row_verdict_ck")),
        sa.CheckConstraint("(verdict = 'accepted') = (reason_code is null)", name=op.f("declaration_row_reason_ck")),
        sa.CheckConstraint("verdict <> 'accepted' or parcel_key is not null", name=op.f("declaration_row_accepted_ck")),
        sa.CheckConstraint("freight_fen > 0", name=op.f("declaration_row_freight_ck")),
    )
    op.create_index(op.f("declaration_row_parcel_key_ix"), "declaration_row", ["parcel_key"])
    op.create_index(op.f("declaration_row_platform_order_no_ix"), "declaration_row", ["platform", "order_no"])
    op.create_index(op.f("declaration_row_merchant_id_ix"), "declaration_row", ["merchant_id"])
    op.create_table(
        "declaration_withdrawal",
        sa.Column("declaration_id", sa.Text(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("declaration_id", name=op.f("declaration_withdrawal_pk")),
    )
