-- One job with everything kept about it: two primary-key look-ups.
select id, org_id, type, queue, status, attempts, max_attempts, priority, token, created_at, run_at, started_at,
    finished_at, expires_at, reason, duplicate_of, executor, suspect, crashes, waiting_for, errors, result, payload
from jobs.all_jobs j
where j.id = %(id)s
