"""The shapes of database on which the access matrix holds."""

import pytest
from pytest_postgresql.executors import NoopExecutor

from app.embedded import SUPERUSER
from tests.conftest import Host
from tests.platforms import SUPABASE_OWNER
from tests.policies import Place

OWNERS = {  # by template
    "people": SUPERUSER,
    "supabase": SUPABASE_OWNER,
    "adopted": SUPERUSER,
    "free": SUPERUSER,
    "free_supabase": SUPABASE_OWNER,
    "guide": SUPERUSER,
    "by_hand": SUPABASE_OWNER,
    "free_guide": SUPERUSER,
    "free_by_hand": SUPABASE_OWNER,
}


def place_on(request: pytest.FixtureRequest, template: str) -> Place:
    host: Host = request.getfixturevalue("host")
    executor: NoopExecutor = request.getfixturevalue(f"{template}_template")
    return Place(host.url(executor.template_dbname), OWNERS[template])


@pytest.fixture(params=["people", "supabase"], ids=["plain", "supabase"])
def fresh_place(request: pytest.FixtureRequest) -> Place:
    """An install whose tables this package made, on plain PostgreSQL and on Supabase."""
    return place_on(request, request.param)


@pytest.fixture(
    params=["people", "supabase", "adopted", "guide", "by_hand"],
    ids=["plain", "supabase", "adopted", "guide", "by-hand"],
)
def place(request: pytest.FixtureRequest) -> Place:
    """The same, or a platform that was adopted: for what is ours there, too."""
    return place_on(request, request.param)


@pytest.fixture(params=["guide", "by_hand"], ids=["guide", "by-hand"])
def guide_place(request: pytest.FixtureRequest) -> Place:
    """The guide's own platform, where the token's sub is users.auth_id, before and after the guide's SQL by hand."""
    return place_on(request, request.param)


@pytest.fixture(params=["free_guide", "free_by_hand"], ids=["guide", "by-hand"])
def free_guide_place(request: pytest.FixtureRequest) -> Place:
    """The same where users and conversations are open to all."""
    return place_on(request, request.param)


@pytest.fixture
def adopted_place(request: pytest.FixtureRequest) -> Place:
    """The adopted platform alone: for what its own policies have a say in."""
    return place_on(request, "adopted")


@pytest.fixture(
    params=["free", "free_supabase", "free_guide", "free_by_hand"], ids=["plain", "supabase", "guide", "by-hand"]
)
def free_place(request: pytest.FixtureRequest) -> Place:
    """A fresh install, or the guide's platform, whose users and conversations are open to all."""
    return place_on(request, request.param)
