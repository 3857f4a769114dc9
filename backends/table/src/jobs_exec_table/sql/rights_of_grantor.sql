-- Who owns the queue, whether the connection's role may act as its owner, and whether the role in question exists.
-- No row: there is no queue.
select pg_catalog.pg_get_userbyid(c.relowner)::text, pg_catalog.pg_has_role(c.relowner, 'usage'),
    exists (select from pg_catalog.pg_roles r where r.rolname = %(role)s)
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'jobs' and c.relname = 'jobs_queue'
