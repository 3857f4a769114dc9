-- Did this attempt end its job? One probe of the primary key.
select 1 from jobs.job_runs where job_id = %(job_id)s and token = %(token)s
