"""The operator's verbs, a file each: `python -m app --help`."""

import typer

from app.verbs import admins, audit, chatbots, doctor, document, history, metrics, preflight, seed, sql, usage
from app.verbs.shared import add

verbs = typer.Typer(
    help="Run a chatbot platform's database. It is the one in DATABASE_URL, or the embedded PostgreSQL.",
    epilog="Exit codes: 0 done; 1 not done, and the last line of the errors says why; 2 wrong usage;"
    " 3 looked, and found something to mend (preflight, doctor).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

add(verbs, preflight.preflight, example="DATABASE_URL=postgresql://... python -m app preflight")
add(verbs, sql.sql, example="python -m app sql migrations")
add(verbs, seed.seed, example="python -m app seed --tenant Acme")
add(verbs, doctor.doctor, example="python -m app doctor --as mia@demo.example")
verbs.add_typer(admins.admins, name="admins")
add(verbs, chatbots.chatbots, example="python -m app chatbots --tag orders --as mia@demo.example")
add(verbs, usage.usage, example="python -m app usage --tenant Acme")
add(verbs, history.history, example="python -m app history Support --tenant Acme")
add(verbs, history.restore, example="python -m app restore Support 3 --tenant Acme")
add(verbs, audit.audit, example="python -m app audit --tenant Acme --since 2026-11-01")
add(verbs, metrics.metrics, example="python -m app metrics --textfile /var/lib/node_exporter/chatbots.prom")
add(verbs, document.document, example="python -m app document")
