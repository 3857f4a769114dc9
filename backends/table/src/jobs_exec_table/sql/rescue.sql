-- Stamps lapsed leases and takes jobs back from executors that are gone.
select * from jobs.jobs_rescue_v1(%(limit)s, %(max_crashes)s, %(retention)s)
