-- Inserts a batch of jobs; answers only about those that repeat something.
select * from jobs.jobs_enqueue_v1(
    %(ids)s::uuid[], %(orgs)s::text[], %(types)s::text[], %(queues)s::text[], %(payloads)s::text[],
    %(identities)s::text[], %(hashes)s::bytea[], %(payload_digests)s::uuid[], %(max_attempts)s::smallint[],
    %(priorities)s::smallint[], %(run_ats)s::timestamptz[], %(delays)s::double precision[],
    %(expires_ats)s::timestamptz[], %(traces)s::text[], %(seqs)s::bigint[])
