-- Retention: runs and keys past their time.

-- Deletes up to p_limit runs past their time, as many expired keys, and as many notes of schedules about jobs that have
-- ended; 0 for whoever comes while another does it.
create or replace function jobs.jobs_purge_v1(p_limit integer) returns bigint
language plpgsql volatile
set search_path = ''
set enable_seqscan = off
set jit = off
as $$
declare
    v_keys uuid[];
    v_runs uuid[];
begin
    if not pg_try_advisory_xact_lock(hashtextextended('jobs.purge', 0)) then
        return 0;
    end if;
    v_keys := array(
        select k.digest from jobs.job_keys k where k.expires_at <= jobs.clock()
        order by k.expires_at limit p_limit for update skip locked);
    delete from jobs.job_keys k where k.digest = any(v_keys);
    v_runs := array(
        select r.job_id from jobs.job_runs r where r.keep_until <= jobs.clock()
        order by r.keep_until limit p_limit for update skip locked);
    delete from jobs.job_runs r where r.job_id = any(v_runs);
    return cardinality(v_keys) + cardinality(v_runs) + jobs.schedule_jobs_purge(p_limit);
end
$$;

select jobs.close_to_strangers();
