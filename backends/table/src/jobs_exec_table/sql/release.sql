-- Gives reservations up; those of others are left alone.
delete from jobs.job_reservations v
using unnest(%(job_ids)s::uuid[], %(tokens)s::bigint[]) as u(job_id, token)
where v.job_id = u.job_id and v.token = u.token
