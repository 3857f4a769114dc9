-- Stores successes of those that still own their work, and ends their reservations. Returns the owners.
with given as materialized (
    select * from unnest(%(digests)s::uuid[], %(job_ids)s::uuid[], %(tokens)s::bigint[], %(orgs)s::text[],
                         %(ttls)s::double precision[], %(results)s::text[])
        as u(digest, job_id, token, org_id, ttl, result)
),
owned as (
    delete from jobs.job_reservations v using given g
    where v.digest = g.digest and v.job_id = g.job_id and v.token = g.token
    returning g.*
),
kept as (
    insert into jobs.job_keys (digest, org_id, job_id, token, finished_at, expires_at, result)
    select o.digest, o.org_id, o.job_id, o.token, jobs.clock(), jobs.clock() + o.ttl * interval '1 second',
        o.result::json
    from owned o
    on conflict (digest) do update
        set org_id = excluded.org_id, job_id = excluded.job_id, token = excluded.token,
            finished_at = excluded.finished_at, expires_at = excluded.expires_at, result = excluded.result
        where job_keys.expires_at <= jobs.clock()
)
select o.job_id, o.token from owned o
