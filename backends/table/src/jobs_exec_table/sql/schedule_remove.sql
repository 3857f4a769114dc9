-- Deletes a schedule; its jobs stay.
delete from jobs.job_schedules where id = %(id)s returning 1
