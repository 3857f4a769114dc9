-- What the recipes need of Supabase, with the same names and signatures: the vault with its decrypted view, and
-- pg_net's queue, from which the tests send in the place of its worker.
create schema vault;
create table vault.decrypted_secrets (name text primary key, decrypted_secret text not null);

create schema net;
create table net.http_request_queue (
    id bigserial primary key, method text, url text, headers jsonb, body bytea, timeout_milliseconds int
);
create function net.http_post(
    url text,
    body jsonb default '{}'::jsonb,
    params jsonb default '{}'::jsonb,
    headers jsonb default '{"Content-Type": "application/json"}'::jsonb,
    timeout_milliseconds int default 5000
) returns bigint
language sql
as $$
    insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
    values ('POST', url, headers, convert_to(body::text, 'UTF8'), timeout_milliseconds)
    returning id
$$;
