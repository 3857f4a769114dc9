-- Deletes a batch of runs and keys past their time.
select jobs.jobs_purge_v1(%(limit)s)
