"""What applications and operators do to the book of schedules: `Client.schedules` and the commands alike.

::

    schedules ──▶ finding     which row is meant, never one of another tenant
              ──▶ admitting   what a schedule is held to on its way into the book
              ──▶ firing      out of turn, by the rules of the book

What executors do about it, in turn, is `jobs_exec.executor.firing`.
"""
