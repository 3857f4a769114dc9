-- Extends the reservations of those that still own theirs, and returns the owners.
update jobs.job_reservations v
set lease_until = clock_timestamp() + %(lease)s::double precision * interval '1 second'
from unnest(%(job_ids)s::uuid[], %(tokens)s::bigint[]) as u(job_id, token)
where v.job_id = u.job_id and v.token = u.token
returning v.job_id, v.token
