"""Runs of the revisions: judged before, one at a time, beside a live service; and scripts that do the same.

`run` is a run's session and its patience, `steps` what surrounds each step, `version_table` where its revision stands,
`concurrency` how it takes its locks, `watching` and `progress` what it tells meanwhile. `blocks` are the checks as SQL,
`scripts` what a script finds out by itself, `files` the guide's SQL files. `preflight` says what an upgrade would meet
and do, `autogenerate` what `alembic check` finds, and `settings` where the revisions are.
"""
