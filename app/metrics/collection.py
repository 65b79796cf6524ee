"""All metrics of a database, as text or file. Guide: "Metrics to Track"."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from prometheus_client import generate_latest, write_to_textfile
from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, text

from app.errors import SetupError, printable
from app.metrics import performance, security, usage
from app.metrics.families import gauge


class Section(StrEnum):
    """A part of the metrics, as the guide has them."""

    USAGE = "usage"
    PERFORMANCE = "performance"
    SECURITY = "security"


FAMILIES: dict[Section, Callable[[Connection], Iterator[Metric]]] = {
    Section.USAGE: usage.families,
    Section.PERFORMANCE: performance.families,
    Section.SECURITY: security.families,
}
LIMIT = text("SELECT set_config('lock_timeout', '2s', true)")  # whoever locks a table is not queued up behind


def escaped(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels without control characters, which names may contain; Prometheus' format itself escapes line breaks."""
    return {name: "\n".join(map(printable, value.split("\n"))) for name, value in labels.items()}


class Metrics:
    """What was measured, as prometheus-client takes a collector."""

    def __init__(self, found: Iterable[Metric]) -> None:
        """Keep them, those of one name as one family."""
        self.found: dict[str, Metric] = {}
        for each in found:
            each.samples = [sample._replace(labels=escaped(sample.labels)) for sample in each.samples]
            if each.name in self.found:
                self.found[each.name].samples += each.samples
            else:
                self.found[each.name] = each

    def collect(self) -> Iterable[Metric]:
        """The families."""
        return self.found.values()

    def text(self) -> bytes:
        """In Prometheus' text format, which is UTF-8."""
        return generate_latest(self)

    def write(self, path: Path) -> None:
        """Into a file for the textfile collector, whole or not at all.

        Raises:
            SetupError: the collector would not read it, or it cannot be written.
        """
        require_textfile(path)
        try:
            write_to_textfile(str(path), self)
        except OSError as error:
            raise SetupError(f"Cannot write {path} ({error.strerror}): name another file.") from error


def require_textfile(path: Path) -> None:
    """See that a path is such as node_exporter's textfile collector reads.

    Raises:
        SetupError: it is not, and what lies there is not to be overwritten.
    """
    if path.suffix != ".prom":
        raise SetupError(f"The textfile collector reads no {path.name}: name a file that ends in .prom.")


def collect(connection: Connection, sections: Sequence[Section]) -> Metrics:
    """Measure, in the connection's transaction, which is best read-only.

    Args:
        connection: of the owner of the tables, or of a role with BYPASSRLS that may read them and act as a member.
        sections: of the guide's metrics; none: all.

    Raises:
        SetupError: the role does not see every row, which `usage` needs.
    """
    connection.execute(LIMIT)
    return Metrics(metric for section in dict.fromkeys(sections or Section) for metric in measure(connection, section))


def measure(connection: Connection, section: Section) -> Iterator[Metric]:
    """The families of a section, and when they were measured."""
    yield from FAMILIES[section](connection)
    collected = gauge("collected_timestamp_seconds", "When this part of the metrics was measured", "section")
    collected.add_metric([section], time.time())
    yield collected
