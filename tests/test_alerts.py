"""The example alerts: each is set off by what it is for, of metrics that there are."""

import re
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import URL

from app.metrics import families
from tests.test_metrics import collected
from tests.tools import PROJECT, go_without, run

ALERTS, CASES = PROJECT / "app/metrics/alerts.yml", PROJECT / "tests/alerts.yml"


def promtool(*arguments: str | Path, given: str | None = None) -> None:
    """Run Prometheus' promtool; see that it finds nothing wrong."""
    binary = shutil.which("promtool")
    if binary is None:
        go_without("promtool, of Prometheus, is not installed; .ci/run fetches it")
    done = subprocess.run([binary, *arguments], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def test_the_alerts_are_valid() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS)


def test_each_alert_is_set_off_by_what_it_is_for() -> None:
    promtool("test", "rules", CASES)
    set_off = re.findall(r"alertname: (\w+)\n +exp_alerts", CASES.read_text())
    assert sorted(set_off) == sorted(re.findall(r"alert: (\w+)", ALERTS.read_text()))


def test_prometheus_can_read_the_metrics(people_database: URL) -> None:
    promtool("check", "metrics", given=run("app", "metrics", url=people_database).stdout)


def test_the_alerts_ask_for_metrics_and_labels_that_there_are(logging_server: URL) -> None:
    there_are = collected(logging_server)
    for name in set(re.findall(rf"{families.PREFIX}(\w+)", ALERTS.read_text())):
        assert name in there_are
    labels = {label for its in there_are.values() for each in its for label in each}
    for name, operator, values in re.findall(r'(\w+)(=~?)"([^"]+)"', ALERTS.read_text()):
        for value in values.split("|") if operator == "=~" else [values]:
            assert (name, value) in labels


def test_the_readmes_metrics_are_there(logging_server: URL) -> None:
    there_are = collected(logging_server)
    table = re.search(r"\| The guide's .*?\n\n", (PROJECT / "README.md").read_text(), re.S)
    assert table
    kinds = {value for labels in there_are["refused_statements_total"] for _, value in labels}
    named = set(re.findall(r"`(\w+)`", table[0])) - kinds
    assert len(named) > 10
    assert named <= there_are.keys()
