"""What tests.benchmarks.queries measured, as a table, as ratios to its goals, and as a plot."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import sub
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from sqlalchemy import Connection

from tests.queries import MEMBER, Query, plan_nodes
from tests.scale import GUIDES

OURS, BY_HAND, TUTORIALS = "a", "b", "c"
TENANTS = (100, 2_000)  # chatbots of those that are measured, if there is one near
ROW = "{:52}{:>6}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>7}  {}"
HEADINGS = ("rows", "a ms", "added", "a/b", "c/a", "p95 a/b", "trip a", "added", "p95 a/b", "pages")
MANY = 1000  # rows, from which on what is added once no longer counts
ONCE = 10  # rows at least, for a time per row
COLOURS = {OURS: "#1b7837", BY_HAND: "#5e5e5e", TUTORIALS: "#b2182b"}
LABELS = {
    OURS: "this package, through act_as",
    BY_HAND: "no row security, tenant by hand",
    TUTORIALS: "tutorials' policies",
}


class Case(NamedTuple):
    """Who asks what, of which tenant."""

    query: Query
    who: str
    tenant: int  # its chatbots, about

    @property
    def label(self) -> str:
        return f"{self.query.name}, {self.who}"


@dataclass
class Taken:
    """What one way of asking took, in milliseconds."""

    server: list[float] = field(default_factory=list)
    trips: list[float] = field(default_factory=list)
    rows: float = 0
    pages: int = 0
    plan: str = ""

    def join(self, other: "Taken") -> None:
        self.server += other.server
        self.trips += other.trips
        self.rows, self.pages, self.plan = other.rows, other.pages, other.plan

    def take(self, connection: Connection, explain: str) -> None:
        (found,) = connection.exec_driver_sql(explain).scalar_one()
        self.server.append(found["Planning Time"] + found["Execution Time"])
        plan = found["Plan"]
        self.rows = plan["Actual Rows"]
        self.pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self.plan = " < ".join(dict.fromkeys(named(node) for node in plan_nodes(plan) if node["Node Type"] != "Result"))


Results = dict[Case, dict[str, Taken]]
Run = dict[int, Results]  # by clients


def table(runs: dict[int, Run]) -> None:
    """Print every query of every size: medians in milliseconds, and ratios."""
    for chatbots, run in runs.items():
        for clients, results in run.items():
            print(f"\n{chatbots:,} chatbots, {10 * chatbots:,} conversations, {clients} at once")
            print(ROW.format("", *HEADINGS, "plan (a)"))
            for case, its in results.items():
                ours, by_hand = its[OURS], its[BY_HAND]
                theirs = f"{median(its[TUTORIALS].server) / median(ours.server):.1f}" if its[TUTORIALS].server else ""
                figures = (
                    f"{ours.rows:.0f}",
                    f"{median(ours.server):.3f}",
                    f"{added(its):.3f}",
                    f"{median(ours.server) / median(by_hand.server):.2f}",
                    theirs,
                    f"{p95(ours.server) / p95(by_hand.server):.2f}",
                    f"{median(ours.trips):.2f}",
                    f"{median(ours.trips) - median(by_hand.trips):.2f}",
                    f"{p95(ours.trips) / p95(by_hand.trips):.2f}",
                    ours.pages,
                )
                print(ROW.format(f"{case.label}, tenant of {case.tenant:,}", *figures, ours.plan))


def goals(runs: dict[int, Run]) -> None:
    """Print the worst of each goal, for each size, one client."""
    usual = runs.get(GUIDES[0]) or next(iter(runs.values()))
    for chatbots, run in runs.items():
        results = run[1]
        listings = [(case, its) for case, its in results.items() if case.query.is_listing]
        print(f"\n{chatbots:,} chatbots")
        worst("added in the server, ms", ((added(its), case) for case, its in results.items()))
        worst(
            f"a / b, from {MANY:,} rows on",
            ((ratio(its, OURS, BY_HAND), case) for case, its in results.items() if its[OURS].rows >= MANY),
        )
        worst(
            "a / b of writes", ((ratio(its, OURS, BY_HAND), case) for case, its in results.items() if case.query.writes)
        )
        best(
            "c / a of listings",
            ((ratio(its, TUTORIALS, OURS), case) for case, its in listings if its[TUTORIALS].server),
        )
        worst(
            "time per row, to that at the guide's size",
            (
                (per_row(results, case) / per_row(usual[1], case), case)
                for case, its in listings
                if min(its[OURS].rows, usual[1][case][OURS].rows) >= ONCE
            ),
        )
        for case, its in listings:
            if any(kind in its[OURS].plan for kind in ("Sort", "Seq Scan", "Bitmap")):
                print(f"    not in an index's order: {case.label}: {its[OURS].plan}")


def worst(goal: str, found: Iterator[tuple[float, Case]]) -> None:
    say(goal, "at most", sorted(found, key=lambda each: -each[0]))


def best(goal: str, found: Iterator[tuple[float, Case]]) -> None:
    say(goal, "at least", sorted(found, key=lambda each: each[0]))


def say(goal: str, bound: str, found: list[tuple[float, Case]]) -> None:
    for value, case in found[:1]:
        middle = found[len(found) // 2][0]
        print(f"    {goal}: {bound} {value:.3g} ({case.label}, tenant of {case.tenant:,}), median {middle:.3g}")


def ratio(its: dict[str, Taken], way: str, to: str) -> float:
    return median(its[way].server) / median(its[to].server)


def per_row(results: Results, case: Case) -> float:
    its = results[case][OURS]
    return median(its.server) / its.rows


def p95(milliseconds: list[float]) -> float:
    return quantiles(milliseconds, n=20)[-1]


def plot(runs: dict[int, Run], file: Path) -> None:
    """Draw time over size, in an SVG that is the same for the same figures."""
    mpl.rcParams.update({"svg.hashsalt": "queries", "svg.fonttype": "none", "font.size": 9})
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for each, (name, tenant) in zip(
        axes, (("list published", TENANTS[0]), ("get configuration", TENANTS[0])), strict=True
    ):
        draw(each, runs, name, tenant)
    axes[0].set_ylabel("server time, ms")
    axes[0].legend(frameon=False)
    figure.savefig(file, format="svg", metadata={"Date": None})


def draw(axes: Axes, runs: dict[int, Run], name: str, tenant: int) -> None:
    for way, colour in COLOURS.items():
        points = [
            (chatbots, median(its[way].server))
            for chatbots, run in runs.items()
            for case, its in run[1].items()
            if (case.query.name, case.who, case.tenant) == (name, MEMBER, tenant)
        ]
        axes.loglog(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=LABELS[way])
    axes.set_title(f"{name}, a member of a tenant of {tenant}")
    axes.set_xlabel("chatbots of all tenants")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(alpha=0.3)


def named(node: dict[str, Any]) -> str:
    return " ".join(filter(None, (node["Node Type"], node.get("Index Name"))))


def added(its: dict[str, Taken]) -> float:
    """Milliseconds that row security adds in the server, median of turns."""
    return float(median(map(sub, its[OURS].server, its[BY_HAND].server)))
