-- Keeps where the ring of a queue was left: a hint, so whoever finds it locked goes on without.
with known as materialized (
    select c.queue from jobs.job_cursors c where c.queue = %(queue)s for update skip locked
),
moved as (
    update jobs.job_cursors c set cursor = %(cursor)s from known k where c.queue = k.queue
)
insert into jobs.job_cursors (queue, cursor)
select %(queue)s, %(cursor)s where not exists (select from jobs.job_cursors c where c.queue = %(queue)s)
on conflict (queue) do nothing
