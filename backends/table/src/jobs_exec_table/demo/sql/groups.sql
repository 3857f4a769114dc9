-- Runs by group of orgs, with the wait from enqueue to first claim. A sequential scan: it reads every run once.
select
    case when org_id = any(%(named)s) then org_id::text else 'quiet' end as name,
    count(distinct org_id)::int as orgs,
    count(*)::int as jobs,
    (count(*) filter (where status = 'succeeded'))::int as succeeded,
    (count(*) filter (where status = 'dead'))::int as dead,
    coalesce(percentile_cont(0.5) within group (order by extract(epoch from first_claimed_at - created_at)) * 1000, 0)
        ::float8 as wait_p50_ms,
    coalesce(percentile_cont(0.99) within group (order by extract(epoch from first_claimed_at - created_at)) * 1000, 0)
        ::float8 as wait_p99_ms
from jobs.job_runs
group by 1
