"""`python -m app metrics`: each figure beside what it is of, and what cannot be measured."""

import re
from pathlib import Path

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import Connection, sql
from pytest_postgresql import factories
from sqlalchemy import URL, create_engine
from sqlalchemy.orm import Session

from app.metrics import security
from app.metrics.collection import Section, collect
from app.usage import usage
from tests.people import (
    ACME,
    ACME_MEMBER,
    DRAFT,
    GLOBEX,
    GLOBEX_PUBLISHED,
    MEMBER,
    OWN_TALK,
    PUBLISHED,
    SERVICE,
    missing_roles,
)
from tests.platforms import PLAIN, ROLES
from tests.tools import PROJECT, alembic, attempt, connect, run, url_of

Samples = dict[str, dict[frozenset[tuple[str, str]], float]]  # by name, then by labels


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            its = found.setdefault(sample.name.removeprefix("chatbot_platform_"), {})
            labels = frozenset(sample.labels.items())
            assert labels not in its, "a scrape with a sample twice is refused"
            its[labels] = sample.value
    return found


def collected(url: URL, *sections: Section) -> Samples:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return samples(collect(connection, sections).text().decode())
    finally:
        engine.dispose()


def labelled(**labels: object) -> frozenset[tuple[str, str]]:
    return frozenset((name, str(value)) for name, value in labels.items())


# Usage


def test_usage_is_that_of_each_chatbot(platform: Connection, session: Session) -> None:
    evil = 'Quote " backslash \\ and\nline'
    session.connection().exec_driver_sql("UPDATE chatbots SET name = %s WHERE id = %s", (evil, DRAFT))
    session.commit()
    found = collected(url_of(platform), Section.USAGE)
    names = {
        "chatbot_conversations": "conversations",
        "chatbot_messages": "messages",
        "chatbot_people": "people",
        "chatbot_ratings": "ratings",
        "chatbot_rating_mean": "mean_rating",
        "chatbot_rating_positive_ratio": "positive_share",
    }
    figures = usage(session)
    for name, field in names.items():
        assert found[name] == {
            labelled(tenant_id=each.tenant_id, chatbot_id=each.chatbot_id): value
            for each in figures
            if (value := getattr(each, field)) is not None
        }, name
    last = {each.chatbot_id: each.last_used_at for each in figures}[PUBLISHED]
    assert last is not None
    its = labelled(tenant_id=ACME, chatbot_id=PUBLISHED)
    assert found["chatbot_last_used_timestamp_seconds"][its] == last.timestamp()
    assert found["popular_chatbot_place"][its] == 1
    draft = labelled(tenant_id=ACME, chatbot_id=DRAFT, tenant="Acme", chatbot=evil, published="false")
    assert found["chatbot_info"][draft] == 1
    assert len(found["chatbot_info"]) == 4
    assert found["tenant_admins"][labelled(tenant_id=ACME, state="inactive")] == 1
    assert found["tenant_admins"][labelled(tenant_id=GLOBEX, state="inactive")] == 0
    assert found["tenant_unpublished_chatbots"] == {labelled(tenant_id=tenant): 1 for tenant in (ACME, GLOBEX)}


THUMBS = PLAIN.replace("rating integer", "rating smallint CHECK (rating IN (-1, 1))")

# Of two chatbots, one that everybody likes, and one that few do: what share of their 80 ratings each is positive.
LIKED, DISLIKED = PUBLISHED, DRAFT
SHARES = {LIKED: 1, DISLIKED: 0.25}
RATED = f"""
    INSERT INTO tenants (id, name) VALUES ('{ACME}', 'Acme');
    INSERT INTO users (id, tenant_id, email, is_active) VALUES ('{ACME_MEMBER}', '{ACME}', 'm@acme.example', true);
    INSERT INTO chatbots (id, tenant_id, name, system_prompt, model) VALUES
        ('{LIKED}', '{ACME}', 'Liked', 'Be.', 'm'), ('{DISLIKED}', '{ACME}', 'Disliked', 'Be.', 'm');
    INSERT INTO conversations (id, tenant_id, user_id, chatbot_id)
        SELECT gen_random_uuid(), tenant_id, '{ACME_MEMBER}', id FROM chatbots, generate_series(1, 80);
    INSERT INTO messages (id, conversation_id, role, content)
        SELECT gen_random_uuid(), id, 'assistant', 'Yes.' FROM conversations;
    INSERT INTO feedback (id, message_id, user_id, rating)
        SELECT gen_random_uuid(), messages.id, user_id,
            CASE WHEN chatbot_id = '{LIKED}' OR row_number() OVER (PARTITION BY chatbot_id) <= 20 THEN 1 ELSE -1 END
        FROM messages JOIN conversations ON conversations.id = conversation_id
"""


def adopt_thumbs(url: URL) -> None:
    """Adopt a platform whose ratings are thumbs, with two chatbots and 80 ratings of each."""
    with connect(url) as connection:
        connection.execute(f"{ROLES}; {THUMBS}".encode())
        alembic(url, "upgrade", "head")
        connection.execute(RATED.encode())


def test_thumbs_up_are_positive_in_usage_and_metrics(empty: URL) -> None:
    adopt_thumbs(empty)
    found = collected(empty, Section.USAGE)
    assert found["chatbot_rating_positive_ratio"] == {
        labelled(tenant_id=ACME, chatbot_id=bot): share for bot, share in SHARES.items()
    }
    assert found["chatbot_rating_mean"][labelled(tenant_id=ACME, chatbot_id=DISLIKED)] == -0.5
    told = run("app", "usage", url=empty)
    assert [line.split()[6:9] for line in told.stdout.splitlines()[1:]] == [
        ["80", "-0.50", "25%"],
        ["80", "1.00", "100%"],
    ]
    strictly = run("app", "usage", "--positive-from", "2", url=empty)
    assert [line.split()[8] for line in strictly.stdout.splitlines()[1:]] == ["0%", "0%"]


# Performance

SLOW = """
    CREATE FUNCTION public.slow() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN PERFORM pg_sleep(0.05) WHERE chatbot_private.user_id() IS NOT NULL; RETURN true; END
    $$;
    CREATE POLICY slow ON chatbots FOR SELECT TO authenticated USING ((SELECT public.slow()))
"""


guides_platform = factories.postgresql("guide_template")


@pytest.mark.parametrize("at", ["platform", "guides_platform"])
def test_the_overhead_is_what_a_member_pays(
    request: pytest.FixtureRequest, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member by their token, which names users.auth_id on the guide's own platform."""
    platform: Connection = request.getfixturevalue(at)
    monkeypatch.setattr("app.metrics.performance.TIMES", 3)
    platform.execute(SLOW)
    platform.commit()
    found = collected(url_of(platform), Section.PERFORMANCE)
    for query, slow in (("list published chatbots", True), ("get chatbot", True), ("check role", False)):
        seconds = found["probe_seconds"]
        member, none = (seconds[labelled(query=query, identity=who)] for who in ("member", "none"))
        overhead = found["row_security_overhead_seconds"][labelled(query=query)]
        assert overhead == pytest.approx(member - none)
        assert (overhead > 0.04) == slow, query
        assert 0 < none < 0.04
    assert found["measured"] == {labelled(what="row security overhead", reason=""): 1}


def test_a_role_that_cannot_act_as_a_member_says_so(platform: Connection) -> None:
    platform.execute(missing_roles("metrics_reader LOGIN BYPASSRLS"))
    platform.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO metrics_reader")
    platform.commit()
    found = collected(url_of(platform).set(username="metrics_reader"), Section.PERFORMANCE)
    (what,) = found["measured"]
    assert found["measured"][what] == 0
    assert dict(what)["reason"] == 'permission denied to set role "authenticated"'
    assert "probe_seconds" not in found
    assert found["sequential_scans_total"]


def test_without_a_chatbot_to_probe_it_says_so(head: URL) -> None:
    ((what, value),) = collected(head, Section.PERFORMANCE)["measured"].items()
    assert (value, dict(what)["reason"]) == (0, "no tenant has a published chatbot and an active person")


@pytest.mark.parametrize(
    ("setting", "name", "labels"),
    [
        ("enable_seqscan", "index_scans_total", {"table": "chatbots", "index": "idx_chatbots_tenant_published"}),
        ("enable_indexscan", "sequential_scans_total", {"table": "chatbots"}),
    ],
)
def test_scans_are_counted(platform: Connection, setting: str, name: str, labels: dict[str, str]) -> None:
    platform.commit()
    before = collected(url_of(platform), Section.PERFORMANCE)[name][labelled(**labels)]
    with connect(url_of(platform)) as connection:
        connection.execute(f"SET {setting} = off".encode())
        connection.execute("SET enable_bitmapscan = off")
        query = "SELECT name FROM chatbots WHERE tenant_id = %s AND is_published ORDER BY name"
        connection.execute(query, (ACME,))
        connection.execute("SELECT pg_stat_force_next_flush()")
        connection.execute("SELECT 1")
    after = collected(url_of(platform), Section.PERFORMANCE)[name][labelled(**labels)]
    assert after > before


# Security


REFUSED = {
    "grant": (MEMBER, "DELETE FROM users"),
    "policy": (
        MEMBER,
        f"INSERT INTO conversations (tenant_id, user_id) VALUES ('{GLOBEX}', '{ACME_MEMBER}')",
    ),
    "link": (MEMBER, f"UPDATE conversations SET chatbot_id = '{DRAFT}' WHERE id = '{OWN_TALK}'"),
    "key": (SERVICE, f"UPDATE conversations SET chatbot_id = '{GLOBEX_PUBLISHED}' WHERE id = '{OWN_TALK}'"),
    "membership": (MEMBER, f"UPDATE users SET role = 'admin' WHERE id = '{ACME_MEMBER}'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_each_refusal_is_counted_by_its_kind(logging_server: URL, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "LENGTH", 1000)  # lines that are cut between two reads
    before = collected(logging_server, Section.SECURITY)["refused_statements_total"]
    assert set(before) == {labelled(kind=each) for each in REFUSED}
    who, statement = REFUSED[kind]
    with connect(logging_server) as connection:
        if kind == "membership":
            connection.execute("GRANT UPDATE (role) ON users TO authenticated")
        refused = attempt(connection, who, statement, {})
        connection.execute("REVOKE UPDATE (role) ON users FROM authenticated")
        assert refused in {kind, "guard"}
        assert attempt(connection, who, "SELECT 1", {}) == 1
        with pytest.raises(psycopg.errors.UniqueViolation):  # another error than of rights
            connection.execute("INSERT INTO tenants TABLE tenants")
    with connect(logging_server.set(database="other")) as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
        other.execute("SET ROLE anon; CREATE TABLE elsewhere ()")
    after = collected(logging_server, Section.SECURITY)
    counted = {labels: value - before[labels] for labels, value in after["refused_statements_total"].items()}
    assert counted == {labels: float(labels == labelled(kind=kind)) for labels in before}
    assert after["measured"] == {labelled(what="refused statements", reason=""): 1}


def test_a_role_that_is_granted_the_readmes_rights_reads_the_log(logging_server: URL) -> None:
    grant = re.search(r"`(GRANT EXECUTE ON FUNCTION\s[^`]* TO) …`", (PROJECT / "README.md").read_text())
    assert grant
    with connect(logging_server) as connection:
        connection.execute(missing_roles("metrics_monitor LOGIN"))
        connection.execute(f"{grant[1]} metrics_monitor".encode())
        attempt(connection, *REFUSED["grant"], {})
    found = collected(logging_server.set(username="metrics_monitor"), Section.SECURITY)
    assert found["refused_statements_total"][labelled(kind="grant")] >= 1


def test_a_log_with_other_lines_is_read_on(logging_server: URL) -> None:
    with connect(logging_server) as connection:
        for broken in (r'{"state_code": "42501", ', r'["42501"]', r'"42501"', r'\377 {"42501": \377}'):
            append = f"printf '{broken}\\n' >> $(ls -t log/*.json | head -1)"
            connection.execute(sql.SQL("COPY (SELECT) TO PROGRAM {}").format(append))
        attempt(connection, *REFUSED["grant"], {})
    assert collected(logging_server, Section.SECURITY)["refused_statements_total"][labelled(kind="grant")] >= 1


def test_rolled_back_transactions_are_counted(platform: Connection) -> None:
    url = url_of(platform)
    platform.commit()
    before = collected(url, Section.SECURITY)["rolled_back_transactions_total"][labelled()]
    with connect(url) as connection:
        assert attempt(connection, MEMBER, "DELETE FROM users", {}) == "grant"
        connection.execute("SELECT pg_stat_force_next_flush()")
        connection.execute("SELECT 1")
    assert collected(url, Section.SECURITY)["rolled_back_transactions_total"][labelled()] > before


def test_a_log_that_cannot_be_read_is_no_zero(platform: Connection, logging_server: URL) -> None:
    with connect(logging_server) as connection:
        connection.execute(missing_roles("metrics_outsider LOGIN"))
    for url, reason in (
        (url_of(platform), "the server writes no log in JSON"),
        (logging_server.set(username="metrics_outsider"), "the role may not read the server's log"),
    ):
        found = collected(url, Section.SECURITY)
        assert found["measured"] == {labelled(what="refused statements", reason=reason): 0}
        assert "refused_statements_total" not in found


# On the command line


def test_text_or_file(platform: Connection, tmp_path: Path) -> None:
    platform.commit()
    url, file = url_of(platform), tmp_path / "chatbots.prom"
    printed = run("app", "metrics", "usage", url=url)
    assert printed.returncode == 0, printed.stderr
    for _again in range(2):
        written = run("app", "metrics", "usage", "--textfile", str(file), url=url)
        assert (written.returncode, written.stdout) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["chatbots.prom"]
    collected_at = "collected_timestamp_seconds"
    assert samples(file.read_text()).keys() == samples(printed.stdout).keys()
    assert samples(printed.stdout).pop(collected_at).keys() == {labelled(section="usage")}
    twice = samples(run("app", "metrics", "usage", "usage", url=url).stdout)
    assert twice.keys() == samples(printed.stdout).keys()
    whole = samples(run("app", "metrics", url=url).stdout)
    assert whole[collected_at].keys() == {labelled(section=section) for section in Section}
    assert samples(printed.stdout).keys() < whole.keys()


def test_bad_input_is_a_sentence_and_nothing_is_written(platform: Connection, tmp_path: Path) -> None:
    platform.commit()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "directory.prom").mkdir()
    for path, sentence in (
        ("notes.txt", "The textfile collector reads no notes.txt: name a file that ends in .prom."),
        ("directory.prom", "directory.prom (Is a directory): name another file."),
        ("missing/x.prom", "x.prom (No such file or directory): name another file."),
    ):
        told = run("app", "metrics", "security", "--textfile", str(tmp_path / path), url=url_of(platform))
        assert (told.returncode, told.stdout, "Traceback" in told.stderr) == (1, "", False)
        assert told.stderr.splitlines()[-1].endswith(sentence)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory.prom", "notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert run("app", "metrics", "nonsense", url=url_of(platform)).returncode == 2
