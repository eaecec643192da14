"""PostgreSQL keeps valid time whole: periods of one life do not overlap, one site is one station's at a time. Traces lead to any record."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.sites import site_id

revision = "20261127_01"
down_revision = "20261126_02"
branch_labels = None
depends_on = None

# A timestamp of ours bears its offset, so reading it depends on no setting, and these are immutable as a check needs them. Their names are
# bound here and now (`begin atomic`): a backup is restored with no search path.
KEPT_APART = """
create function kept_apart(segments jsonb) returns boolean language sql immutable parallel safe begin atomic
    select coalesce(bool_and(starts < ends and (before is null or before <= starts)), true)
    from (
        select starts, ends, lag(ends) over (order by starts) as before
        from (
            select (s->>'valid_from')::timestamptz as starts, coalesce((s->>'valid_to')::timestamptz, 'infinity') as ends
            from jsonb_array_elements(segments) s
        ) given
    ) ordered;
end
"""
KEPT_APART_IN = """
create function kept_apart_in(document jsonb) returns boolean language sql immutable parallel safe begin atomic
    select kept_apart(coalesce(document->'segments', '[]'))
        and (select coalesce(bool_and(kept_apart(f->'segments')), true) from jsonb_array_elements(coalesce(document->'filings', '[]')) f);
end
"""
# What the service writes from now on beside each record, for those that are there already.
TRACES = """
insert into trace (term, id)
select distinct 'kind|' || kind, id from snapshot
union
select distinct 'place|' || place, id
from snapshot, jsonb_array_elements(document->'segments') s,
    lateral (values (s->>'township_code'), (s->>'division_code'), (rpad(left(s->>'division_code', 6), 12, '0'))) p(place)
where kind = 'station' and place is not null
union
select distinct (document->>'level') || '|' || place, id
from snapshot, jsonb_array_elements(document->'segments') s,
    lateral (values (s->>'township_code'), (s->>'division_code'), (rpad(left(s->>'division_code', 6), 12, '0'))) p(place)
where kind = 'station' and place is not null
union
select distinct 'brand|' || brand, id from snapshot, jsonb_array_elements(document->'segments') s, jsonb_array_elements_text(s->'brands') brand
where kind = 'station'
union
select distinct 'brand|' || brand, id
from snapshot, jsonb_array_elements(document->'filings') f, jsonb_array_elements_text(f->'covers_brands') brand
where kind = 'station'
union
select distinct 'operator|' || (s->>'operator_id'), id from snapshot, jsonb_array_elements(document->'segments') s
where kind = 'station' and s->>'operator_id' is not null
on conflict do nothing
"""
ALIASES = """
select id, alias->>'namespace', alias->>'site_code', alias->>'site_name', (alias->>'valid_from')::timestamptz, (alias->>'valid_to')::timestamptz
from (select distinct on (id) id, document from snapshot where kind = 'station' order by id, revision desc) newest,
    jsonb_array_elements(document->'aliases') alias
"""


def upgrade() -> None:
    op.execute(KEPT_APART)
    op.execute(KEPT_APART_IN)
    op.create_check_constraint("kept_apart", "snapshot", "kept_apart_in(document)")
    op.alter_column("trace", "station_id", new_column_name="id")
    op.create_index("ix_trace_in_order", "trace", ["term", sa.text("length(id)"), "id"])
    op.execute(TRACES)
    op.execute("create extension if not exists btree_gist")
    op.create_table(
        "claim",
        sa.Column("site", sa.LargeBinary(), nullable=False),
        sa.Column("valid", postgresql.TSTZRANGE(), nullable=False),
        sa.Column("station_id", sa.Text(), nullable=False),
    )
    op.execute("alter table claim add constraint pk_claim primary key (site, valid without overlaps)")
    op.create_index("ix_claim_station_id", "claim", ["station_id"])
    pg = op.get_bind()
    for station_id, namespace, code, name, start, end in pg.execute(sa.text(ALIASES)).all():
        pg.execute(
            sa.text("insert into claim values (:site, tstzrange(:start, :end), :station)"),
            {"site": site_id(namespace, code, name), "start": start, "end": end, "station": station_id},
        )
    app = pg.scalar(sa.text("select quote_ident(replace(current_user, '_owner', '_app'))"))
    op.execute(f"grant delete on claim to {app}")  # what is claimed now; what was claimed stands in the snapshots


def downgrade() -> None:
    op.drop_table("claim")
    op.drop_index("ix_trace_in_order", "trace")
    op.execute("delete from trace where term ~ '^(kind|place|operator|brand|county_hub|township|village)\\|'")
    op.alter_column("trace", "id", new_column_name="station_id")
    op.drop_constraint("kept_apart", "snapshot", type_="check")
    op.execute("drop function kept_apart_in(jsonb)")
    op.execute("drop function kept_apart(jsonb)")
