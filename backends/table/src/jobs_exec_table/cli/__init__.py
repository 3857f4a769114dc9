"""The commands of the table distribution: `db`, `dev` and `demo`."""
