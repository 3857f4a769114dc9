-- Inserts many jobs that repeat nothing by construction and are due now; created_at and seq come from the table.
copy jobs.jobs_queue (id, org_id, type, queue, payload, identity, run_hash, digest, payload_digest, max_attempts,
    priority, expires_at, trace) from stdin
