-- What people ask for: one view over live jobs and runs, cancel, redrive.

-- Every job once, live or ended. Filters on id, org_id and created_at reach the indexes of both tables.
create or replace view jobs.all_jobs with (security_invoker = true) as
select q.id, q.org_id::text as org_id, q.type::text as type, q.queue::text as queue, q.state::text as status,
    q.attempts, q.max_attempts, q.priority, q.token, q.created_at, q.run_at, q.first_claimed_at, q.started_at,
    null::timestamptz as finished_at, q.expires_at, q.reason, null::uuid as duplicate_of, q.executor, q.suspect,
    q.crashes, case when q.state = 'held' then q.reason end as waiting_for, q.trace, q.errors, null::json as result,
    q.payload::json as payload
from jobs.jobs_queue q
union all
select r.job_id, r.org_id::text, r.type::text, r.queue::text, r.status::text, r.attempts, r.max_attempts, r.priority,
    r.token, r.created_at, null, r.first_claimed_at, r.started_at, r.finished_at, r.expires_at, r.reason,
    r.duplicate_of, r.executor, false, r.crashes, null, r.trace, r.errors,
    coalesce(r.result, (select o.result from jobs.job_runs o where o.job_id = r.duplicate_of)), r.payload::json
from jobs.job_runs r;

comment on view jobs.all_jobs is 'Live jobs and runs together, for people and tools.';

-- Ends queued jobs as cancelled. Answers for each element of p_ids, in order.
create or replace function jobs.jobs_cancel_v1(p_ids uuid[], p_retention double precision)
returns table (n bigint, outcome text)
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
as $$
declare
    v_mine uuid[];
begin
    v_mine := array(
        select q.id from jobs.jobs_queue q
        where q.id = any(p_ids) and q.state <> 'running'
        order by q.id for update);
    perform jobs.jobs_end_v1(
        v_mine, array_fill('cancelled'::text, array[cardinality(v_mine)]), p_retention,
        array_fill('operator'::text, array[cardinality(v_mine)]));
    return query
        select u.n, case
            when u.id = any(v_mine) and row_number() over (partition by u.id order by u.n) = 1 then 'cancelled'
            when exists (select from jobs.jobs_queue q where q.id = u.id) then 'running'
            when exists (select from jobs.job_runs r where r.job_id = u.id) then 'already_ended'
            else 'not_found' end
        from unnest(p_ids) with ordinality as u(id, n)
        order by u.n;
end
$$;

-- Moves runs that did not succeed back into the queue: same id, attempts 0, token continued, history kept. Answers for
-- each element of p_ids, in order; one at a time, because two may be the same piece of work.
create or replace function jobs.jobs_redrive_v1(p_ids uuid[]) returns table (n bigint, outcome text)
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
as $$
begin
    for n in 1..cardinality(p_ids) loop
        outcome := jobs.redrive_one(p_ids[n]);
        return next;
    end loop;
end
$$;

create or replace function jobs.redrive_one(p_id uuid) returns text
language plpgsql volatile
set search_path = ''
as $$
declare
    v_run jobs.job_runs%rowtype;
    v_digest uuid;
begin
    select r.* into v_run from jobs.job_runs r where r.job_id = p_id for update;
    if not found then
        return case when exists (select from jobs.jobs_queue q where q.id = p_id)
            then 'already_live' else 'not_found' end;
    end if;
    v_digest := encode(substring(v_run.run_hash from 1 for 16), 'hex')::uuid;
    if v_run.status in ('succeeded', 'duplicate') or v_run.identity <> 'none' and exists (
        select from jobs.job_keys k where k.digest = v_digest and k.expires_at > jobs.clock()
    ) then
        return 'already_succeeded';
    end if;
    -- The token grows, so that a late settle of the attempt that ended the run finds nothing.
    insert into jobs.jobs_queue (id, token, created_at, first_claimed_at, digest, payload_digest, identity, priority,
        max_attempts, org_id, type, queue, trace, run_hash, payload, errors)
    values (v_run.job_id, v_run.token + 1, v_run.created_at, v_run.first_claimed_at, v_digest, v_run.payload_digest,
        v_run.identity, v_run.priority, v_run.max_attempts, v_run.org_id, v_run.type,
        coalesce((select t.queue from jobs.job_types t where t.name = v_run.type), v_run.queue),
        v_run.trace, v_run.run_hash, v_run.payload, v_run.errors)
    on conflict (digest) do nothing;
    if not found then
        return 'already_live';
    end if;
    delete from jobs.job_runs r where r.job_id = p_id;
    return 'redriven';
end
$$;

select jobs.close_to_strangers();
