-- The unexpired successes among the digests.
select k.digest, k.job_id, k.token, k.finished_at, coalesce(k.result, r.result)
from jobs.job_keys k
left join jobs.job_runs r on r.job_id = k.job_id
where k.digest = any(%(digests)s::uuid[]) and k.expires_at > jobs.clock()
