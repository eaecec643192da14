"""Photographs and papers: encrypted, by the hash of their bytes; who sent them, and who has looked at a person's."""

import sqlalchemy as sa
from alembic import op

revision = "20261127_02"
down_revision = "20261127_01"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
NOW = sa.text("now()")


def upgrade() -> None:
    """The application may read and add, as to all history: the default privilege."""
    op.create_table(
        "document",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", INSTANT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_document")),
    )
    op.execute("alter table document alter body set storage external")  # ciphertext does not compress: do not try
    op.create_table(
        "document_upload",
        sa.Column("upload_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=True),
        sa.Column("at", INSTANT, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["document.sha256"], name=op.f("fk_document_upload_sha256")),
        sa.PrimaryKeyConstraint("upload_id", name=op.f("pk_document_upload")),
        sa.UniqueConstraint("sha256", "by", "operator_id", name=op.f("uq_document_upload_sha256"), postgresql_nulls_not_distinct=True),
    )
    op.create_table(
        "document_reading",
        sa.Column("reading_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["document.sha256"], name=op.f("fk_document_reading_sha256")),
        sa.PrimaryKeyConstraint("reading_id", name=op.f("pk_document_reading")),
    )
    op.create_index(op.f("ix_document_reading_sha256"), "document_reading", ["sha256"])


def downgrade() -> None:
    for table in ("document_reading", "document_upload", "document"):
        op.drop_table(table)
