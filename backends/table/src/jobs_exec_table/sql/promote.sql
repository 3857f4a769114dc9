-- One pass of upkeep: expiry, release, holding and promotion. Plan: see migrations/0006_promote.sql.
select * from jobs.jobs_promote_v1(
    %(limit)s, %(cursor)s, %(held_cursor)s, %(suspended)s::text[], %(active)s::text[], %(retention)s)
