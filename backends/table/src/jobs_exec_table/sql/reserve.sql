-- Takes each free piece of work for a lease; a lapsed reservation is free. Answers in input order: the run that counts
-- where the work is done, else whether the asker owns it. Of several askers in one batch the first one gets it.
with asked as materialized (
    select u.n, u.digest, u.job_id, u.token, u.org_id, k.job_id as done_by, k.token as done_token, k.finished_at,
        coalesce(k.result, r.result) as result
    from unnest(%(digests)s::uuid[], %(job_ids)s::uuid[], %(tokens)s::bigint[], %(orgs)s::text[]) with ordinality
        as u(digest, job_id, token, org_id, n)
    left join jobs.job_keys k on k.digest = u.digest and k.expires_at > jobs.clock()
    left join jobs.job_runs r on r.job_id = k.job_id
),
taken as (
    insert into jobs.job_reservations (digest, org_id, job_id, token, lease_until)
    select distinct on (a.digest) a.digest, a.org_id, a.job_id, a.token,
        clock_timestamp() + %(lease)s::double precision * interval '1 second'
    from asked a
    where a.done_by is null
    order by a.digest, a.n
    on conflict (digest) do update
        set org_id = excluded.org_id, job_id = excluded.job_id, token = excluded.token,
            lease_until = excluded.lease_until
        where job_reservations.lease_until <= clock_timestamp()
            or (job_reservations.job_id, job_reservations.token) = (excluded.job_id, excluded.token)
    returning digest, job_id, token
)
select case
        when a.done_by is not null then 'done'
        when exists (select from taken t where (t.digest, t.job_id, t.token) = (a.digest, a.job_id, a.token))
            then 'acquired'
        else 'held'
    end, a.done_by, a.done_token, a.finished_at, a.result
from asked a
order by a.n
