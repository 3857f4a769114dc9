-- How many jobs an executor is running.
select count(*) from jobs.jobs_queue q where q.executor = %(id)s and q.state = 'running'
