-- The migration runner's own record, made before the first migration and harmless when it is there.
-- Not tenant data: everybody who may use the schema may read it, the owner alone writes it.
create schema if not exists jobs;
create table if not exists jobs.schema_migrations (
    version integer constraint a_migration_is_applied_once primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
);
alter table jobs.schema_migrations enable row level security;
do $$
begin
    if not exists (
        select from pg_catalog.pg_policy
        where polrelid = 'jobs.schema_migrations'::regclass and polname = 'everybody_reads_the_version'
    ) then
        create policy everybody_reads_the_version on jobs.schema_migrations for select using (true);
    end if;
end
$$;
