-- Makes one job running at once, or says why not.
select s.outcome, s.job_id, s.wait, s.attempts, s.max_attempts, s.conflict, s.reason, s.run_token, s.finished_at,
    s.result, (s.job).*
from jobs.jobs_start_v1(
    %(executor)s, %(id)s, %(org)s, %(type)s, %(queue)s, %(payload)s, %(identity)s, %(hash)s, %(payload_digest)s,
    %(max_attempts)s::smallint, %(priority)s::smallint, %(expires_at)s, %(trace)s, %(retention)s) s
