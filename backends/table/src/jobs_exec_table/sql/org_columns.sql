-- The columns `id` and `status` of the application's table of orgs, with their types; nothing when it is not there.
-- A table or view this user cannot read counts as not there.
select a.attname::text, t.typname::text
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_type t on t.oid = a.atttypid
where n.nspname = %(schema)s and c.relname = %(table)s and a.attname in ('id', 'status')
    and a.attnum > 0 and not a.attisdropped
    and pg_catalog.has_schema_privilege(n.oid, 'usage')
    and pg_catalog.has_column_privilege(c.oid, a.attnum, 'select')
