"""The table backend: a Postgres queue and run ledger, polled by executors."""
