"""What is only ever added to refuses to be changed: for every role, the owner's included."""

# History is what the app role may not UPDATE, as the migrations have granted; the parts of a partitioned table refuse for themselves, since
# a statement on a part does not pass its parent's triggers. To switch one off takes a change of the schema, which shows.
FREEZE_HISTORY = """
do $$ declare one regclass; begin
    for one in
        select c.oid from pg_class c left join pg_inherits i on i.inhrelid = c.oid
        where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'alembic_version'
          and not has_table_privilege(replace(current_user, '_owner', '_app'), coalesce(i.inhparent, c.oid), 'update')
          and not has_table_privilege(replace(current_user, '_owner', '_app'), coalesce(i.inhparent, c.oid), 'delete')
          and not exists (select from pg_trigger where tgrelid = c.oid and tgname = 'only_grows')
        order by c.oid
    loop
        execute format(
            'create trigger only_grows before update or delete or truncate on %s for each statement execute function refuse_change()', one
        );
    end loop;
end $$
"""
