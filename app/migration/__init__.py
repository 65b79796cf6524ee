"""Runs of the revisions: judged before, one at a time, beside a live service.

`run` is a run's session and its patience, `steps` what surrounds each step, `version_table` where its revision stands,
`concurrency` how it takes its locks, `watching` and `progress` what it tells meanwhile, `preflight` what an upgrade
would meet and do, and `autogenerate` what `alembic check` finds.
"""
