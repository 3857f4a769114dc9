-- What the connection's role may do: its name, the tables of ours that it may read and that row-level security hides
-- from it whole, whether it may COPY into the queue, which PostgreSQL refuses under row-level security, and what its
-- transactions see of others.
select current_user::text,
    coalesce(array_agg(t.name order by t.name) filter (where t.secured and t.readable and not t.admitted), '{}'),
    coalesce(bool_or(t.writable and not t.secured) filter (where t.name = 'jobs_queue'), false),
    pg_catalog.current_setting('transaction_isolation')
from (
    select c.relname::text as name, pg_catalog.row_security_active(c.oid) as secured,
        pg_catalog.has_table_privilege(c.oid, 'select') as readable,
        pg_catalog.has_table_privilege(c.oid, 'insert') as writable,
        exists (
            select from pg_catalog.pg_policy p
            where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('r', '*')
                and exists (select from unnest(p.polroles) r where r = 0 or pg_catalog.pg_has_role(r, 'usage'))
        ) as admitted
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'jobs' and c.relkind = 'r'
) t
