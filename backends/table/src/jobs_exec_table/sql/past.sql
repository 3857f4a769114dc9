-- How work of an identity that does not live has ended, as far as it forbids another start.
select p.* from jobs.start_past(%(digest)s, %(org)s, %(hash)s) p
where not exists (select from jobs.jobs_queue q where q.digest = %(digest)s)
