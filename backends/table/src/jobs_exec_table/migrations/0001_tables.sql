-- The tables of Jobs Exec.
--
-- A job is a row of jobs_queue until it ends, then a row of job_runs: never both, never neither. job_keys says
-- which run counts for a piece of work. Values are checked by domains, which are evaluated when a value comes
-- in; a table CHECK would be evaluated again at every claim, because a claim is an UPDATE.

create schema if not exists jobs;

-- --- values --------------------------------------------------------------------------------------------

do $$
begin
    create type jobs.job_state as enum ('scheduled', 'ready', 'running', 'held');
    create type jobs.run_status as enum ('succeeded', 'duplicate', 'dead', 'cancelled', 'expired', 'rejected');
    create type jobs.identity_mode as enum ('payload', 'key', 'none');

    create domain jobs.org_id as text collate "C"
        constraint org_id_has_1_to_255_characters check (length(value) between 1 and 255)
        -- Of any script: under the collation C \s is white space of ASCII alone.
        constraint org_id_has_no_white_space_around_it check (
            value !~ '^[\s\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]'
            and value !~ '[\s\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$')
        constraint org_id_has_no_control_characters check (value !~ '[\u0001-\u001f\u007f-\u009f]');
    create domain jobs.type_name as text collate "C"
        constraint type_is_a_letter_then_letters_digits_or_punctuation
            check (value ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$');
    create domain jobs.queue_name as text collate "C"
        constraint queue_is_a_letter_then_letters_digits_or_punctuation
            check (value ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$');
    create domain jobs.job_data as json
        constraint data_is_a_json_object check (json_typeof(value) = 'object');
    create domain jobs.run_hash as bytea
        constraint run_hash_is_a_sha256 check (octet_length(value) = 32);
exception when duplicate_object then
    null;  -- applied before; a type cannot be created "if not exists"
end
$$;

-- The business clock: due times, backoff, expiry, age, retention. STABLE, one value a statement: a volatile clock
-- turns an index condition into a filter. Tests replace it; leases never use it.
create or replace function jobs.clock() returns timestamptz
language sql stable parallel safe
return pg_catalog.statement_timestamp();

-- A UUID version 7 (RFC 9562): milliseconds since 1970, then random bits. The twin of the one made in clients.
create or replace function jobs.uuid_v7() returns uuid
language sql volatile parallel safe
return pg_catalog.encode(
    pg_catalog.set_bit(pg_catalog.set_bit(
        overlay(
            pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
            placing pg_catalog.substring(
                pg_catalog.int8send((extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint), 3)
            from 1 for 6),
        52, 1), 53, 1), 'hex')::uuid;

-- --- the queue -----------------------------------------------------------------------------------------

-- Orders the jobs of an org. Taken in input order before a batch is sorted by identity for its locks.
create sequence if not exists jobs.jobs_queue_seq as bigint;

create table if not exists jobs.jobs_queue (
    seq bigint not null default nextval('jobs.jobs_queue_seq'),
    token bigint not null default 0,
    created_at timestamptz not null default jobs.clock(),
    run_at timestamptz not null default jobs.clock(),
    first_due timestamptz not null default jobs.clock(),
    started_at timestamptz,
    first_claimed_at timestamptz,
    expires_at timestamptz,
    held_since timestamptz,
    held_seconds double precision not null default 0,
    id uuid not null default jobs.uuid_v7(),
    digest uuid not null,
    payload_digest uuid,
    executor uuid,
    state jobs.job_state not null default 'ready',
    identity jobs.identity_mode not null,
    priority smallint not null default 5,
    attempts smallint not null default 0,
    max_attempts smallint not null default 5,
    crashes smallint not null default 0,
    suspect boolean not null default false,
    org_id jobs.org_id not null,
    type jobs.type_name not null,
    queue jobs.queue_name not null default 'default',
    reason text,
    trace text,
    run_hash jobs.run_hash not null,
    payload jobs.job_data not null default '{}',
    errors jsonb not null default '[]',
    constraint jobs_queue_pkey primary key (id),
    constraint priority_is_0_to_9 check (priority between 0 and 9),
    constraint attempts_are_never_negative check (attempts >= 0),
    constraint max_attempts_is_1_to_1000 check (max_attempts between 1 and 1000),
    -- 'infinity' is no time to a client: one such row would fail the answer of every claim that takes it. Evaluated
    -- again at each claim: 0.03 µs a row (PostgreSQL 18).
    constraint times_lie_between_the_years_1970_and_9999 check (
        least(created_at, run_at, first_due, expires_at) >= '1970-01-01 00:00+00'
        and greatest(created_at, run_at, first_due, expires_at) < '9999-12-31 00:00+00'),
    constraint exactly_a_running_job_has_an_executor check ((state = 'running') = (executor is not null)),
    constraint exactly_a_held_job_has_a_hold check ((state = 'held') = (held_since is not null))
) with (
    -- Rows change twice in their life; a state in index predicates means no change is heap-only, so space is
    -- left for neither. What matters is that dead rows go soon: the claim reads the head of each org's line.
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000,
    vacuum_truncate = off
);

comment on table jobs.jobs_queue is 'Live jobs: scheduled, ready, running or held. Ended jobs are in job_runs.';
comment on column jobs.jobs_queue.token is
    'Fences every write about an attempt: grows at every claim and at every end of an attempt, never falls.';
comment on column jobs.jobs_queue.digest is 'The first 16 bytes of run_hash.';

-- One live job for each piece of work. No state in it: a running one suppresses too.
create unique index if not exists jobs_queue_one_live_job_per_identity on jobs.jobs_queue (digest);
-- The ring of orgs, and each org's line.
create index if not exists jobs_queue_ready on jobs.jobs_queue (queue, org_id, priority, seq)
    where state = 'ready' and not suspect;
create index if not exists jobs_queue_suspects on jobs.jobs_queue (queue, seq) where state = 'ready' and suspect;
-- Which types are ready, so that a claim knows whether it must look past somebody else's. No predicate of these three
-- implies another's: a look-up in the wrong one, planned on an empty queue, read the whole queue.
create index if not exists jobs_queue_ready_types on jobs.jobs_queue (queue, type)
    where state = 'ready' and not suspect;
create index if not exists jobs_queue_due on jobs.jobs_queue (run_at) where state = 'scheduled';
create index if not exists jobs_queue_due_by_org on jobs.jobs_queue (org_id, run_at) where state = 'scheduled';
create index if not exists jobs_queue_retries on jobs.jobs_queue (attempts)
    where state = 'scheduled' and attempts > 0;
create index if not exists jobs_queue_running on jobs.jobs_queue (executor) where state = 'running';
create index if not exists jobs_queue_held on jobs.jobs_queue (reason, org_id, type) where state = 'held';
create index if not exists jobs_queue_expiring on jobs.jobs_queue (expires_at)
    where expires_at is not null and state in ('scheduled', 'held');
create index if not exists jobs_queue_by_org on jobs.jobs_queue (org_id, created_at);

-- --- the run ledger ------------------------------------------------------------------------------------

create table if not exists jobs.job_runs (
    token bigint not null,
    created_at timestamptz not null,
    started_at timestamptz,
    first_claimed_at timestamptz,
    finished_at timestamptz not null,
    expires_at timestamptz,
    keep_until timestamptz not null,
    job_id uuid not null,
    payload_digest uuid,
    executor uuid,
    duplicate_of uuid,
    status jobs.run_status not null,
    identity jobs.identity_mode not null,
    priority smallint not null,
    attempts smallint not null,
    max_attempts smallint not null,
    crashes smallint not null,
    org_id jobs.org_id not null,
    type jobs.type_name not null,
    queue jobs.queue_name not null,
    reason text,
    trace text,
    run_hash jobs.run_hash not null,
    result json,
    errors jsonb not null default '[]',
    payload jobs.job_data,
    constraint job_runs_pkey primary key (job_id),
    constraint exactly_what_did_not_run_through_keeps_its_payload
        check ((payload is null) = (status in ('succeeded', 'duplicate'))),
    constraint exactly_a_duplicate_points_at_a_run check ((status = 'duplicate') = (duplicate_of is not null))
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);

comment on table jobs.job_runs is 'How jobs ended: one row for each job that left the queue, kept until keep_until.';

create index if not exists job_runs_by_org on jobs.job_runs (org_id, created_at);
create index if not exists job_runs_by_hash on jobs.job_runs (org_id, run_hash);
create index if not exists job_runs_dead on jobs.job_runs (attempts) where status = 'dead';
create index if not exists job_runs_retention on jobs.job_runs (keep_until);

-- Successes that suppress their repetition. The digest is the smallest form: 40 B a row in the index, against
-- 105 B for (org, bytea).
create table if not exists jobs.job_keys (
    token bigint not null,
    finished_at timestamptz not null,
    expires_at timestamptz not null,
    digest uuid not null,
    job_id uuid not null,
    org_id jobs.org_id not null,
    result json,
    constraint job_keys_pkey primary key (digest)
) with (autovacuum_vacuum_scale_factor = 0.05);

comment on table jobs.job_keys is 'Which run counts for a piece of work. result is set only for runs of another backend.';

create index if not exists job_keys_expiry on jobs.job_keys (expires_at);

-- Who may do a piece of work, when the queue is another backend's. Jobs of jobs_queue need no row here.
create table if not exists jobs.job_reservations (
    token bigint not null,
    lease_until timestamptz not null,
    digest uuid not null,
    job_id uuid not null,
    org_id jobs.org_id not null,
    constraint job_reservations_pkey primary key (digest)
);

create index if not exists job_reservations_by_owner on jobs.job_reservations (job_id);
create index if not exists job_reservations_lapse on jobs.job_reservations (lease_until);

-- --- who runs, and what is known -----------------------------------------------------------------------

-- One row for each executor; lease and stamp are the server's real time. A heartbeat is a non-key UPDATE of this
-- row, so it does not conflict with the FOR KEY SHARE of a claim.
create table if not exists jobs.job_executors (
    id uuid not null,
    name text not null,
    started_at timestamptz not null default clock_timestamp(),
    lease_seconds double precision not null,
    lease_until timestamptz not null,
    lapsed_at timestamptz,
    queues text[] not null,
    types text[] not null,
    schedules text[] not null default '{}',
    constraint job_executors_pkey primary key (id),
    constraint lease_is_positive check (lease_seconds > 0)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

create table if not exists jobs.job_types (
    name jobs.type_name not null,
    queue jobs.queue_name not null,
    identity jobs.identity_mode not null,
    max_attempts smallint,
    last_seen timestamptz not null,
    constraint job_types_pkey primary key (name)
);

-- Where the ring of orgs was left: a hint for those who start without a memory (run --once, serverless ticks).
create table if not exists jobs.job_cursors (
    queue text not null,
    cursor text not null,
    constraint job_cursors_pkey primary key (queue)
);

-- --- what people and tools read about them ---------------------------------------------------------------

comment on table jobs.job_executors is 'Executors: one row for each, with its lease.';
comment on table jobs.job_types is 'Job types that executors have announced, so that enqueuers need not have their plugins.';
comment on table jobs.job_cursors is 'Where the ring of orgs was left in each queue; a hint.';
comment on table jobs.job_reservations is 'Pieces of work that a job of another backend is doing.';
comment on column jobs.job_executors.schedules is
    'The schedules that its code defines, each as job_schedules.ref; those that nobody carries are orphaned.';
comment on column jobs.jobs_queue.seq is 'Orders the jobs of an org and priority.';
comment on column jobs.jobs_queue.created_at is 'When it was enqueued.';
comment on column jobs.jobs_queue.run_at is 'Not before this time: the time asked for, the end of a backoff or of a snooze.';
comment on column jobs.jobs_queue.first_due is 'When it was due for the first time; JOB_MAX_AGE counts from here.';
comment on column jobs.jobs_queue.started_at is 'When the last attempt was claimed.';
comment on column jobs.jobs_queue.first_claimed_at is 'When the first attempt was claimed.';
comment on column jobs.jobs_queue.expires_at is 'Not started after this time.';
comment on column jobs.jobs_queue.held_since is 'Since when it is held.';
comment on column jobs.jobs_queue.held_seconds is 'How long it was held before; does not count as age.';
comment on column jobs.jobs_queue.id is 'The public id, kept through redrive.';
comment on column jobs.jobs_queue.payload_digest is
    'Tells two payloads under one key apart; null when SQL enqueued it, which cannot compute what clients do.';
comment on column jobs.jobs_queue.executor is 'Whose it is while it is running.';
comment on column jobs.jobs_queue.identity is 'What makes it the same piece of work as another: payload, key or none.';
comment on column jobs.jobs_queue.priority is '0 first, 9 last, inside the org only.';
comment on column jobs.jobs_queue.attempts is 'Attempts counted so far; one that was given back is not.';
comment on column jobs.jobs_queue.max_attempts is 'Dead after so many failed attempts.';
comment on column jobs.jobs_queue.crashes is 'Attempts that took their process down.';
comment on column jobs.jobs_queue.suspect is 'It was running when its executor was lost; runs alone next time.';
comment on column jobs.jobs_queue.org_id is 'The tenant.';
comment on column jobs.jobs_queue.reason is 'Why it is held: org or type.';
comment on column jobs.jobs_queue.trace is 'W3C traceparent of the one who enqueued it.';
comment on column jobs.jobs_queue.run_hash is 'SHA-256 of version, org, type, mode and identity.';
comment on column jobs.jobs_queue.payload is 'The data, as the payload model wrote it.';
comment on column jobs.jobs_queue.errors is 'Failed attempts, oldest first: attempt, at, reason, error.';
comment on column jobs.job_runs.token is 'The token of the last attempt.';
comment on column jobs.job_runs.finished_at is 'When it ended.';
comment on column jobs.job_runs.keep_until is 'Purged after this time, unless a live key points at it.';
comment on column jobs.job_runs.job_id is 'The id it had in the queue.';
comment on column jobs.job_runs.duplicate_of is 'The run that counts, for a duplicate.';
comment on column jobs.job_runs.status is 'How it ended.';
comment on column jobs.job_runs.executor is 'Who had it last.';
comment on column jobs.job_runs.result is 'What the handler returned.';
comment on column jobs.job_runs.reason is 'Why it did not succeed: failed, timeout, payload, max_age, crashed, ...';
comment on column jobs.job_runs.errors is 'Failed attempts, oldest first: attempt, at, reason, error.';
comment on column jobs.job_runs.payload is 'The data; kept only of what did not succeed.';
comment on column jobs.job_runs.run_hash is 'SHA-256 of version, org, type, mode and identity.';
comment on column jobs.job_runs.org_id is 'The tenant.';

-- --- rights --------------------------------------------------------------------------------------------

-- Closed to everybody but the owner. Supabase grants to its roles by default privileges, so revoking from PUBLIC is
-- not enough. Row-level security is on and has no policy: whoever is granted a table by mistake still reads nothing.
create or replace function jobs.close_to_strangers() returns void
language plpgsql
set search_path = ''
as $$
declare
    v_role text;
    v_table text;
begin
    for v_role in
        select 'public' union all
        select quote_ident(rolname) from pg_catalog.pg_roles
        where rolname in ('anon', 'authenticated', 'service_role')
    loop
        execute format('revoke all on schema jobs from %s', v_role);
        execute format('revoke all on all tables in schema jobs from %s', v_role);
        execute format('revoke all on all sequences in schema jobs from %s', v_role);
        execute format('revoke all on all functions in schema jobs from %s', v_role);
    end loop;
    for v_table in select tablename from pg_catalog.pg_tables where schemaname = 'jobs' loop
        execute format('alter table jobs.%I enable row level security', v_table);
    end loop;
end
$$;

select jobs.close_to_strangers();
