"""`python -m jobs_exec` is the command `jobs-exec`."""

from jobs_exec.cli import main

main(prog_name="jobs-exec")
