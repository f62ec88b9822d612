"""Schedules: jobs that come due by the clock, again and again.

``timing`` reckons due times, ``lifecycle`` says how a schedule stands, ``service`` keeps what
people write, ``firing`` turns a due time into a job.  A due time is a row that can be inserted
once, so however many consumers look, each fires once.
"""
