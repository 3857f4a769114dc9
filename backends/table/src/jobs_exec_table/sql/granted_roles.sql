-- Who may enqueue besides the owner, and whether it may run jobs as well, which takes a policy of its own.
select r.rolname::text, exists (
        select from pg_catalog.pg_policy p
        join pg_catalog.pg_class c on c.oid = p.polrelid
        where c.relnamespace = f.pronamespace and c.relname = 'jobs_queue' and p.polroles = array[r.oid])
from pg_catalog.pg_proc f
join pg_catalog.pg_namespace n on n.oid = f.pronamespace
cross join lateral pg_catalog.aclexplode(f.proacl) a
join pg_catalog.pg_roles r on r.oid = a.grantee
where n.nspname = 'jobs' and f.proname = 'jobs_enqueue_v1' and r.oid <> f.proowner and a.privilege_type = 'EXECUTE'
order by 1
