"""Runs of the revisions: judged before, one at a time, beside a live service; and scripts that do the same.

`run` is a run's session and its patience, `steps` what surrounds each step, `version_table` where its revision stands,
`lineage` which revisions are ours and which one a schema looks like, `concurrency` how it takes its locks, `watching`
and `progress` what it tells meanwhile. `blocks` are the checks as SQL, `scripts` what a script finds out by itself,
`files` the guide's SQL files. `preflight` says what an upgrade would meet and do, `autogenerate` what `alembic check`
finds, `beside` what an application's own autogenerate leaves alone, and `settings` where the revisions are.
"""
