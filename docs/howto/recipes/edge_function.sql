-- Calls the Edge Function `trigger-report` at 03:00 UTC, and again for the nights in which it could not be reached:
-- the tick is the same, so a second call finds the work done. What a project has to keep to itself is in its vault.
select cron.schedule(
    'nightly report of acme',
    '0,5,15,30 3 * * *',
    $$
    select net.http_post(
        url => (select decrypted_secret from vault.decrypted_secrets where name = 'project_url')
            || '/functions/v1/trigger-report',
        headers => jsonb_build_object(
            'Content-Type', 'application/json',
            'Authorization', 'Bearer '
                || (select decrypted_secret from vault.decrypted_secrets where name = 'anon_key'),
            'x-scheduler-token', (select decrypted_secret from vault.decrypted_secrets where name = 'scheduler_token')
        ),
        body => jsonb_build_object('tick', date_trunc('hour', now(), 'UTC')),
        timeout_milliseconds => 30000
    )
    $$
);
