"""Budget lines: money given to the programme, added and never changed."""

ADD = """
insert into budget (county_code, scheme, year, source, document, amount_fen, debit, credit, batch_no, actor)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict do nothing returning amount_fen
"""
LINES = """
select g.county_code, g.scheme, g.year, g.source, g.document, g.amount_fen, g.actor, b.recorded_at, b.revision
from budget g join batch b on b.partition = -1 and b.batch_no = g.batch_no
where ($1::text is null or scheme = $1) and ($2::smallint is null or year = $2)
order by year desc, scheme, b.revision limit $3
"""
AMOUNTS = "select scheme, year, source, sum(amount_fen)::bigint as amount_fen from budget where county_code = $1 group by 1, 2, 3"
# What the programme's account of a scheme and year has promised, open months included.
ACCRUED = "select scheme, year, sum(gross_fen + adjusted_fen)::bigint as accrued_fen from period_total group by 1, 2"
