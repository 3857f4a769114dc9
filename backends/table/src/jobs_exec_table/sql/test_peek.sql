-- One job as stored, for tests.
select q.id as job_id, q.org_id::text as org_id, q.state::text as status, q.attempts, q.token, q.suspect, q.crashes,
    q.reason, q.payload::text as payload, null::uuid as "of", null::text as result, q.errors
from jobs.jobs_queue q where q.id = %(id)s
union all
select r.job_id, r.org_id::text, r.status::text, r.attempts, r.token, false, r.crashes, r.reason, r.payload::text,
    r.duplicate_of, r.result::text, r.errors
from jobs.job_runs r where r.job_id = %(id)s
