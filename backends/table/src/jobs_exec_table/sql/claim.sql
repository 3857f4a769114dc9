-- Makes ready jobs of one queue running, fair over orgs. Plan: see migrations/0004_claim.sql.
select * from jobs.jobs_claim_v1(
    %(executor)s, %(queue)s, %(types)s::text[], %(limit)s, %(max_bytes)s, %(cursor)s, %(org_slots)s,
    %(busy_orgs)s::text[], %(busy)s::integer[], %(retention)s)
