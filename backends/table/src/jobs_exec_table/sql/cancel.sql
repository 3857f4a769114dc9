-- Ends queued jobs as cancelled.
select * from jobs.jobs_cancel_v1(%(ids)s::uuid[], %(retention)s)
