"""The example alerts: each is set off by what it is for, of metrics that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import URL, create_engine

from app.metrics import families
from app.metrics.collection import Section, collect
from tests.people import ACME
from tests.test_metrics import DISLIKED, adopt_thumbs, collected
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


def test_thumbs_down_set_off_the_alert_of_poor_ratings_and_thumbs_up_do_not(empty: URL, tmp_path: Path) -> None:
    """Of the metrics of a platform, as they are for a day."""
    adopt_thumbs(empty)
    engine = create_engine(empty)
    with engine.connect() as connection:
        lines = collect(connection, [Section.USAGE]).text().decode().splitlines()
    engine.dispose()
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    labels = {"severity": "info", "tenant_id": str(ACME), "chatbot_id": str(DISLIKED)}
    alert = {
        "exp_labels": labels | {"tenant": "Acme", "chatbot": "Disliked"},
        "exp_annotations": {"summary": "25% of the ratings of Disliked (Acme) are positive"},
    }
    day = {
        "interval": "5m",
        "input_series": [{"series": series, "values": f"{float(value):f}x310"} for series, _, value in samples],
        "alert_rule_test": [{"eval_time": "25h", "alertname": "ChatbotPlatformPoorRatings", "exp_alerts": [alert]}],
    }
    cases = {"rule_files": [str(ALERTS)], "evaluation_interval": "5m", "tests": [day]}
    (tmp_path / "cases.yml").write_text(json.dumps(cases))  # YAML, too
    promtool("test", "rules", tmp_path / "cases.yml")


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
