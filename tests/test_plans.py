"""The plans of the guide's queries, and of those by label, under row security at the guide's size."""

from typing import Any

import pytest
from psycopg import Connection, sql

from tests.people import OWNER
from tests.queries import LABELLED, QUERIES, SERVICES, Query, asker, literally, plan_nodes, prepared, values
from tests.scale import Scale
from tests.tools import become

CASES = [
    pytest.param(query, who, id=f"{query.name}-{who}") for query in QUERIES + LABELLED + SERVICES for who in query.of
]
PAGES = {"disks": 4, "memory": 1.1}  # random_page_cost: PostgreSQL's own, and what suits SSDs


def explained(connection: Connection, query: Query, who: str, scale: Scale, chatbots: int, mode: str) -> dict[str, Any]:
    """The plan of a query and what its execution read, once as somebody of the tenant with about so many chatbots."""
    tenant = scale.nearest(chatbots)
    given = values(who, tenant)
    statement = literally(query.sql, given)
    if mode != "simple":
        connection.execute(f"SET LOCAL plan_cache_mode = {mode}".encode())
        prepare, statement = prepared(query.sql, given)
        connection.execute(prepare.encode())
    become(connection, asker(who, tenant))
    explain = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT json) {}").format(statement)
    for _ in range(2):  # once to find what the helpers and the catalogs read first
        (found,) = connection.execute(explain).fetchone() or ()
    if mode != "simple":
        become(connection, OWNER)
        connection.execute("DEALLOCATE query")
    plan: dict[str, Any] = found[0]["Plan"]
    return plan


@pytest.mark.parametrize("pages", PAGES)
@pytest.mark.parametrize("mode", ["simple", "force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(("query", "who"), CASES)
def test_each_query_of_the_guide_uses_its_index(
    crowded: Connection, scale: Scale, query: Query, who: str, mode: str, pages: str
) -> None:
    for chatbots in (100, 2_000):
        with crowded.transaction(force_rollback=True):
            crowded.execute(f"SET LOCAL random_page_cost = {PAGES[pages]}".encode())
            plan = explained(crowded, query, who, scale, chatbots, mode)
        found = list(plan_nodes(plan))
        kinds = {node["Node Type"] for node in found}
        rows = plan["Actual Rows"]
        assert query.writes or rows > 0
        assert {node["Index Name"] for node in found if "Index Name" in node} == ({query.index} - {None})
        assert "Seq Scan" not in kinds
        if query.is_listing and not (query.wide and pages == "disks"):
            assert not {"Sort", "Incremental Sort", "Bitmap Heap Scan"} & kinds
        # Beside what it returns, little: helpers, the index from its root, rows that a member does not see. Where a
        # written row finds room depends on how the table was filled, so of writing, what is read for it counts.
        reading = plan["Plans"] if query.writes else [plan]
        assert sum(each["Shared Hit Blocks"] + each["Shared Read Blocks"] for each in reading) <= 60 + 2 * rows
