"""The commands of the cron distribution: `serve` and `trigger`."""
