-- Jobs of one org, newest first; before continues below a job. Plan: jobs_queue_by_org and job_runs_by_org, merged.
select id, org_id, type, queue, status, attempts, max_attempts, priority, token, created_at, run_at, started_at,
    finished_at, expires_at, reason, duplicate_of, executor, suspect, crashes, waiting_for,
    -- Of the errors the last one, and of its text the class alone: the rest may quote the payload.
    case when jsonb_array_length(j.errors) > 0 then jsonb_build_array(jsonb_set(j.errors -> -1, '{error}',
        to_jsonb(coalesce(substring(j.errors -> -1 ->> 'error' from '^\w+(?=: )'), '')))) end as errors
from jobs.all_jobs j
where j.org_id = %(org_id)s
    and (%(type)s::text is null or j.type = %(type)s)
    and (%(queue)s::text is null or j.queue = %(queue)s)
    and (%(status)s::text is null or j.status = %(status)s)
    and (%(before)s::uuid is null or (j.created_at, j.id) < (
        select b.created_at, b.id from jobs.all_jobs b where b.id = %(before)s))
order by j.created_at desc, j.id desc
limit %(limit)s
