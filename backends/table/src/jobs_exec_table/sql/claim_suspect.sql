-- Makes one suspect of a queue running.
select * from jobs.jobs_claim_suspect_v1(%(executor)s, %(queue)s, %(types)s::text[], %(retention)s)
