-- Gives back a batch of an executor's jobs and removes it when none is left; true when it is gone.
select jobs.executor_leave_v1(%(id)s, %(limit)s)
