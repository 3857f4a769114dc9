-- What executors and operators need beside what enqueuers have: every table and function, and nothing of the owner's.
grant select, insert, update, delete on jobs.jobs_queue, jobs.job_runs, jobs.job_keys, jobs.job_reservations,
    jobs.job_executors, jobs.job_types, jobs.job_cursors, jobs.job_schedules, jobs.job_schedule_jobs to {role};
grant select on jobs.all_jobs, jobs.all_schedules to {role};
grant usage on sequence jobs.jobs_queue_seq to {role};
grant execute on all functions in schema jobs to {role};
revoke execute on function jobs.close_to_strangers from {role};
