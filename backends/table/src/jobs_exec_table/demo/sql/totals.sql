-- Everything that ended, in one row. A sequential scan: it reads every run once.
select
    (count(*) filter (where status = 'succeeded'))::int as succeeded,
    (count(*) filter (where status = 'dead'))::int as dead,
    (count(*) filter (where status = 'dead' and attempts = %(attempts)s))::int as dead_in_full,
    (count(*) filter (where status not in ('succeeded', 'dead')))::int as other_runs,
    (select count(*) from jobs.jobs_queue)::int as queued,
    -- attempts counts the last one too, and a snooze gives its attempt back
    coalesce(sum(attempts - 1), 0)::int as retried,
    coalesce(extract(epoch from max(finished_at) - min(first_claimed_at)), 0)::float8 as seconds,
    coalesce(
        percentile_cont(0.99) within group (order by extract(epoch from first_claimed_at - created_at))
            filter (where org_id = %(noisy)s) * 1000, 0)::float8 as noisy_wait_p99_ms,
    coalesce(
        percentile_cont(0.99) within group (order by extract(epoch from first_claimed_at - created_at))
            filter (where org_id <> %(noisy)s) * 1000, 0)::float8 as quiet_wait_p99_ms
from jobs.job_runs
