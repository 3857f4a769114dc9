-- The tables to which a role was admitted, with the names of the policies that are for it alone.
select c.relname::text, p.polname::text
from pg_catalog.pg_policy p
join pg_catalog.pg_class c on c.oid = p.polrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_roles r on p.polroles = array[r.oid]
where n.nspname = 'jobs' and r.rolname = %(role)s
order by 1
