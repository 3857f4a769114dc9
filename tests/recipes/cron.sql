-- pg_cron's schedule(), where the extension is not installed: it is noted, and the tests are the clock.
create schema cron;
create table cron.job (
    jobid bigserial primary key, jobname text unique, schedule text not null, command text not null
);
create function cron.schedule(job_name text, schedule text, command text) returns bigint
language sql
as $$
    insert into cron.job (jobname, schedule, command) values (job_name, schedule, command) returning jobid
$$;
