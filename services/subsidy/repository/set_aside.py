"""The statements about values of the scans log that cannot be read."""

COLUMNS = ("partition", "position", "batch_no", "reason_code", "detail", "sha256", "value")
# What is still set aside in a partition, beyond a position.
STILL = """
select s.position, s.value from set_aside s
where s.partition = $1 and s.position > $2
  and not exists (select from set_aside_read r where r.partition = s.partition and r.position = s.position)
order by s.position limit $3
"""
READ_COLUMNS = ("partition", "position", "batch_no")
ASK = """
insert into reassessment (partition, asked_batch_no, set_aside, cursor)
select distinct s.partition, $1::bigint, true, ''::bytea from set_aside s
where not exists (select from set_aside_read r where r.partition = s.partition and r.position = s.position)
"""
# How many were set aside and not yet read at a revision of the books ($1; null: now). Few rows: an alarm, no habit.
COUNT = """
select count(*) from set_aside s join batch b using (partition, batch_no)
where ($1::bigint is null or b.revision <= $1) and not exists (
    select from set_aside_read r join batch rb using (partition, batch_no)
    where r.partition = s.partition and r.position = s.position and ($1::bigint is null or rb.revision <= $1)
)
"""
# In order of revision, then position; `read_revision` null: nobody has been able to read it yet.
LIST = """
select s.partition, s.position, s.reason_code, s.detail, encode(s.sha256, 'hex') as sha256, octet_length(s.value) as size_bytes,
       b.revision, b.recorded_at, rb.revision as read_revision
from set_aside s join batch b using (partition, batch_no)
left join set_aside_read r on r.partition = s.partition and r.position = s.position
left join batch rb on rb.partition = r.partition and rb.batch_no = r.batch_no and rb.revision <= $1
where b.revision <= $1 and ($2::text[] is null or s.reason_code = any($2)) and (b.revision, s.position) > ($3, $4)
order by b.revision, s.position limit $5
"""
