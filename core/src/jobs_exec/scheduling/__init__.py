"""Schedules: what they are defined from, and when they tick.

::

    fields ──▶ walltime ──▶ timing ──▶ ticks          an expression, its wall-clock times, instants, what is due
    zones  ────────────────────┘         │
    defining, reading ──▶ Schedule ──────┴──▶ records  a definition, its first tick, its row
                             └──▶ checking             the schedules of code, against job types and settings

All of it is pure: no clock is read and nothing is stored here. A backend's book remembers how far a schedule has
fired (`jobs_exec.contracts.ScheduleBook`), an executor asks it to fire (`jobs_exec.executor.firing`).
"""
