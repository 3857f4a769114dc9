-- Ends a batch of attempts, fenced by (id, token); answers only about what was not written.
select * from jobs.jobs_settle_v1(
    %(ids)s::uuid[], %(tokens)s::bigint[], %(actions)s::text[], %(retention)s, %(delays)s::double precision[],
    %(ttls)s::double precision[], %(results)s::text[], %(reasons)s::text[], %(errors)s::text[], %(ofs)s::uuid[])
