"""Run the policy tests on each mutant, in one pytest session: a test that fails has caught it."""

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg
import pytest
from sqlalchemy import URL

from tests import conftest
from tests.mutants import Mutant, mutants
from tests.tools import connect

TESTS = ["tests/policies", "tests/test_chatbots_table.py"]
QUIET = ["-p", "no:terminal", "-p", "no:cacheprovider", "--capture=no", "--numprocesses=0", "--assert=plain"]
CROWD = "crowd"


@dataclass(frozen=True)
class Shape:
    """A shape of database of the policy tests, of which mutants are made.

    Args:
        people: the template with the rows of tests.people.
        free: the same where users and conversations are open to all.
        open_to_all: what makes the second of the first.
        fixtures: those that give a test a database of this shape alone.
    """

    people: str
    free: str
    open_to_all: Callable[[URL], None]
    fixtures: frozenset[str] = frozenset()

    def has(self, item: pytest.Item) -> bool:
        """Whether a test runs on this shape."""
        fixtures = {*getattr(item, "fixturenames", ())}
        if any(fixture.endswith("place") for fixture in fixtures):
            callspec = getattr(item, "callspec", None)
            return callspec is not None and bool({self.people, self.free} & {*map(str, callspec.params.values())})
        return bool(self.fixtures & fixtures)


PLAIN_FIXTURES = frozenset({"platform", "people_database", "try_as", "crowded"})
SHAPES = {
    "plain": Shape("people", "free", conftest.free, PLAIN_FIXTURES),
    "guide": Shape("guide", "free_guide", conftest.free_with_an_invitation, frozenset({"guide"})),
    "by-hand": Shape("by_hand", "free_by_hand", conftest.free_with_an_invitation),
}


@dataclass(frozen=True)
class Verdict:
    """What came of a mutant.

    Args:
        mutant: its name.
        caught_by: the test that failed, if one did.
        broke: what failed before its test began, if nothing caught the mutant.
    """

    mutant: str
    caught_by: str = ""
    broke: str = ""


def try_mutants(
    shape: str, pattern: str, part: int, parts: int, binaries: Path | None, tell: Callable[[Verdict], None]
) -> list[Verdict]:
    """Try each so-manieth of the mutants of a shape whose names match, on a server of its own.

    Raises:
        RuntimeError: the tests fail without a mutant, or a mutant cannot be made; standard error says which.
    """
    trial = Trial(SHAPES[shape], re.compile(pattern), part, parts, tell)
    options = [f"--postgres-binaries={binaries}"] if binaries else []
    ended = pytest.main([*TESTS, *QUIET, *options], plugins=[trial])
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"the trial ended with {ended!r}")
    return trial.verdicts


class Trial:
    """A pytest plugin that runs the tests once as they are, then on each mutant until one fails."""

    def __init__(
        self, shape: Shape, chosen: re.Pattern[str], part: int, parts: int, tell: Callable[[Verdict], None]
    ) -> None:
        self.shape, self.chosen, self.part, self.parts, self.tell = shape, chosen, part, parts, tell
        self.verdicts: list[Verdict] = []
        self.reports: list[pytest.TestReport] = []
        self.host = conftest.Host("")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[conftest.Host]
    ) -> Generator[None, conftest.Host, conftest.Host]:
        value = yield
        if fixturedef.argname == "host":
            self.host = value
        return value

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if self.shape.has(item)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reports.append(report)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed or not session.items:
            raise pytest.UsageError("the tests cannot be collected")
        seconds = {}
        for item in session.items:
            reports = self.run(item)
            for report in reports:
                if report.failed:
                    raise pytest.UsageError(f"{item.nodeid} fails without a mutant:\n{report.longreprtext}")
            seconds[item] = sum(report.duration for report in reports)
        order = sorted(session.items, key=seconds.__getitem__)  # those that cost least first
        templates = (self.shape.people, *((CROWD,) if "crowded" in self.shape.fixtures else ()))
        for template in templates:
            self.copy(named(template), as_made(template))
        with connect(self.host.url(named(self.shape.people))) as connection:
            found = [mutant for mutant in mutants(connection) if self.chosen.search(mutant.name)]
        for mutant in found[self.part :: self.parts]:
            self.verdicts.append(self.try_mutant(mutant, order))
            self.tell(self.verdicts[-1])
        return True

    def run(self, item: pytest.Item) -> list[pytest.TestReport]:
        """Run a test, and tear down all but the fixtures of the whole session."""
        self.reports = []
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=cast(pytest.Item, item.session))
        return self.reports

    def try_mutant(self, mutant: Mutant, order: list[pytest.Item]) -> Verdict:
        """Run the tests on a mutant; the one that catches it goes first at the next, which is often much alike."""
        try:
            self.copy(as_made(self.shape.people), named(self.shape.people), mutant)
            return self.first_failure(mutant, order)
        finally:
            if mutant.undo:
                with connect(self.host.url("postgres")) as connection:
                    connection.execute(mutant.undo)

    def first_failure(self, mutant: Mutant, order: list[pytest.Item]) -> Verdict:
        # By fixture, what has to be made of the mutant. Where it cannot be made, another mutant's is there.
        others = {"free_place": self.shape.free, "free_guide_place": self.shape.free, "crowded": CROWD}
        made: dict[str, bool] = {}
        broke = ""
        for item in order:
            needed = {template for fixture, template in others.items() if fixture in getattr(item, "fixturenames", ())}
            for template in needed - made.keys():
                try:
                    self.make(template, mutant)
                    made[template] = True
                except psycopg.Error as error:
                    made[template] = False
                    broke = broke or f"{item.nodeid}: {error}"
            if not all(made[template] for template in needed):
                continue
            for report in self.run(item):
                if report.failed and report.when == "call":
                    order.remove(item)
                    order.insert(0, item)
                    return Verdict(mutant.name, caught_by=item.nodeid)
                if report.failed:
                    broke = broke or f"{item.nodeid}: {report.when}"
        return Verdict(mutant.name, broke=broke)

    def make(self, template: str, mutant: Mutant) -> None:
        """Make another template of the mutant."""
        if template == self.shape.free:
            self.copy(named(self.shape.people), named(template))
            self.shape.open_to_all(self.host.url(named(template)))
        else:
            self.copy(as_made(template), named(template), mutant)
            with connect(self.host.url(named(template))) as connection:
                connection.execute("ANALYZE")

    def copy(self, source: str, target: str, mutant: Mutant | None = None) -> None:
        """Put a copy of a database, weakened or not, in another's place."""
        with connect(self.host.url("postgres")) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", (target,)).rowcount:
                connection.execute(f"ALTER DATABASE {target} IS_TEMPLATE false")
            connection.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)")
            # A test that failed may have left its connection open.
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (source,))
            connection.execute(f"CREATE DATABASE {target} TEMPLATE {source}")
        if mutant is not None:
            with connect(self.host.url(target)) as connection:
                connection.execute(mutant.statement)


def named(template: str) -> str:
    """The template's database, as pytest-postgresql names it."""
    return f"{template}_tmpl"


def as_made(template: str) -> str:
    """The copy of a template that is never weakened."""
    return f"{template}_as_made"
