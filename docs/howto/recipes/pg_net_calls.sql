-- Signed calls of Jobs Exec from Postgres: what pg_cron runs, pg_net sends.
--
-- A schema of yours with four functions and no extension but pg_net. The endpoint's address and its signing secret are
-- read from Supabase Vault when a call is made (`jobs_url`, `jobs_secret`), so neither is in `cron.job`, in a
-- migration or in a log. The functions run with the rights of who calls them, which must include reading the vault.

create schema if not exists scheduler;

-- RFC 2104 over the built-in sha256(): pgcrypto's hmac() lives in another schema from server to server, or nowhere.
-- 54 and 92 are the RFC's bytes 0x36 and 0x5c; a block of SHA-256 has 64 bytes.
create or replace function scheduler.hmac_sha256(key bytea, message bytea) returns bytea
language sql immutable strict parallel safe set search_path = ''
as $$
    with shortened as (
        select case when length(key) > 64 then sha256(key) else key end as bytes
    ), block as (
        select bytes || decode(repeat('00', 64 - length(bytes)), 'hex') as bytes from shortened
    ), pads as (
        select string_agg(set_byte('\x00'::bytea, 0, get_byte(bytes, i) # 54), ''::bytea order by i) as inside,
               string_agg(set_byte('\x00'::bytea, 0, get_byte(bytes, i) # 92), ''::bytea order by i) as outside
        from block, generate_series(0, 63) as i
    )
    select sha256(outside || sha256(inside || message)) from pads
$$;

-- The header `webhook-signature` of Standard Webhooks. `secret` is whsec_ and base64, `moment` Unix seconds.
create or replace function scheduler.webhook_signature(secret text, id text, moment bigint, body text) returns text
language sql immutable strict parallel safe set search_path = ''
as $$
    with secret_key as (
        select regexp_replace(secret, '^whsec_', '') as encoded
    )
    select 'v1,' || encode(scheduler.hmac_sha256(
        decode(encoded || repeat('=', -length(encoded) & 3), 'base64'),
        convert_to(id || '.' || moment || '.' || body, 'UTF8')
    ), 'base64')
    from secret_key
$$;

-- Sends one signed call after the commit; returns pg_net's id of the request. The answer is in `net._http_response`.
create or replace function scheduler.call_jobs(path text, call jsonb) returns bigint
language plpgsql volatile set search_path = ''
as $$
declare
    address text := (select decrypted_secret from vault.decrypted_secrets where name = 'jobs_url');
    secret text := (select decrypted_secret from vault.decrypted_secrets where name = 'jobs_secret');
    id text := 'msg_' || gen_random_uuid();
    -- Not now(): a call is good for 300 seconds, and a transaction may have begun before that.
    moment bigint := floor(extract(epoch from clock_timestamp()));
begin
    if address is null or secret is null then
        raise exception 'the vault has no jobs_url or no jobs_secret' using hint = 'Create both secrets in the vault.';
    end if;
    return net.http_post(
        url => rtrim(address, '/') || path,
        body => call,  -- pg_net sends the text of the jsonb in UTF-8, so that is what is signed
        headers => jsonb_build_object(
            'Content-Type', 'application/json',
            'webhook-id', id,
            'webhook-timestamp', moment::text,
            'webhook-signature', scheduler.webhook_signature(secret, id, moment, call::text)
        ),
        timeout_milliseconds => 30000
    );
end
$$;

-- Triggers one job of one org. `tick` is the time it is for: called again with the same one, it does not run again.
create or replace function scheduler.trigger_job(
    org_id text, job_type text, tick timestamptz, data jsonb default '{}'
) returns bigint
language sql volatile set search_path = ''
as $$
    select scheduler.call_jobs(
        '/trigger', jsonb_build_object('orgId', org_id, 'type', job_type, 'data', data, 'tick', tick)
    )
$$;

revoke all on schema scheduler from public;
revoke all on all functions in schema scheduler from public;
