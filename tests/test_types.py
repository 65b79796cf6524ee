"""A client in TypeScript compiles against types generated from our database, as the README does it; a wrong one not."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import URL

from app.embedded import temporary_server
from tests.test_readme import blocks
from tests.tools import SCRATCH, alembic, connect, go_without, libpq_url

PACKAGES = ("supabase@3", "typescript@5", "@supabase/supabase-js@2")
OLDEST_NODE = 20  # that supabase-js runs on
NO_NETWORK = {"EAI_AGAIN", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND", "ETIMEDOUT"}

CLIENT = """\
import { createClient } from "@supabase/supabase-js";
import type { Database, Tool } from "./database";
import type { Database as Generated } from "./generated";

type Chatbot = Database["public"]["Tables"]["chatbots"]["Row"];
type User = Database["public"]["Tables"]["users"]["Row"];
type NewUser = Database["public"]["Tables"]["users"]["Insert"];
type Conversation = Database["public"]["Tables"]["conversations"]["Row"];
type Feedback = Database["public"]["Tables"]["feedback"]["Row"];

declare const chatbot: Chatbot, user: User, conversation: Conversation, feedback: Feedback;
const client = createClient<Database>("https://platform.example", "key");
const weather: Tool = { name: "weather", description: "Tell it.", parameters: { type: "object", properties: {} } };
const mia = { tenant_id: user.tenant_id, email: "mia@demo.example" };
"""

# The guide's "Key Type Changes", to the letter: `any` is the same as nothing else. ROLES is what the CHECK lets in.
KEY_TYPES = """
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Must<T extends true> = T;
type KeyTypes = [
  Must<Same<User["role"], ROLES>>,
  Must<Same<NewUser["role"], ROLES | undefined>>,
  Must<Same<Generated["public"]["Tables"]["users"]["Row"]["role"], string>>, // or there is nothing to narrow
  Must<Same<Conversation["chatbot_id"], string | null>>,
  Must<Same<Feedback["notes"], string | null>>,
  Must<Same<Chatbot["category"], string | null>>,
  Must<Same<Chatbot["tags"], string[]>>,
];
"""

# Each line compiles, and its neighbour, which differs in a word, does not.
RIGHT = """
const role: "admin" | "user" = user.role;
user.role = "admin";
mia satisfies NewUser;
client.from("users").insert({ ...mia, role: "user" });
client.from("users").update({ role: "admin" });
client.from("users").select().eq("role", "admin");
client.from("users").select("role").then(({ data }) => data![0].role === "admin");
conversation.chatbot_id = chatbot.id;
conversation.chatbot_id = null;
client.from("conversations").select("chatbots(name)").then(({ data }) => data![0].chatbots!.name);
chatbot.system_prompt;
client.from("published_chatbots").select().then(({ data }) => data![0].name);
feedback.notes = null;
client.from("feedback").update({ notes: "Thank you" });
client.schema("public");
chatbot.tags = ["orders"];
chatbot.category = null;
client.from("published_chatbots").select("tags").then(({ data }) => data![0].tags!.length);
client.from("chatbots").select("chatbot_tags!inner(tag)").then(({ data }) => data![0].chatbot_tags[0].tag);
client.from("chatbot_tags").select("chatbot_id, name").eq("tag", "orders").order("name");
chatbot.settings.tools![0].name satisfies string;
chatbot.settings = { greeting: "Hi", tools: [weather] };
client.from("chatbots").update({ settings: { tools: [weather] } });
client.from("chatbots").update({ settings: { tools: [] }, tags: ["orders"] });
"""
WRONG = """
const role: "admin" = user.role;
user.role = "root";
user.email satisfies NewUser;
client.from("users").insert({ ...mia, role: "root" });
client.from("users").update({ role: "root" });
client.from("users").select().eq("role", "root");
client.from("users").select("role").then(({ data }) => data![0].role === "root");
conversation.chatbot_id = 5;
conversation.chatbot_id = undefined;
client.from("conversations").select("chatbots(name)").then(({ data }) => data![0].chatbots!.title);
chatbot.prompt;
client.from("published_chatbots").select().then(({ data }) => data![0].system_prompt);
feedback.comment = null;
client.from("feedback").update({ comment: "Thank you" });
client.schema("chatbot_compat");
chatbot.tags = "orders";
chatbot.category = undefined;
client.from("published_chatbots").select("tags").then(({ data }) => data![0].tags!.size);
client.from("chatbots").select("chatbot_tags!inner(tag)").then(({ data }) => data![0].chatbot_tags[0].word);
client.from("chatbot_tags").select("chatbot_id, name").eq("word", "orders").order("name");
chatbot.settings.tools![0].title satisfies string;
chatbot.settings = { greeting: "Hi", tools: [{ ...weather, parameters: { type: "array" } }] };
client.from("chatbots").update({ settings: { tools: [{ name: "weather" }] } });
client.from("chatbots").update({ settings: { tools: {} }, tags: ["orders"] });
"""


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that asks nobody anything, reports to nobody, and leaves nothing outside its directory."""
    environment = {
        "NODE_EXTRA_CA_CERTS": ssl.get_default_verify_paths().cafile or "",  # whom the machine trusts, Node trusts, too
        **os.environ,
        "DO_NOT_TRACK": "1",
        "HOME": str(cwd),
        "SUPABASE_NO_UPDATE_NOTIFIER": "1",
        "SUPABASE_TELEMETRY_DISABLED": "1",
        "npm_config_cache": str(cwd / "cache"),
        "npm_config_update_notifier": "false",
        "npm_config_userconfig": str(Path.home() / ".npmrc"),  # the caller's registry, proxy and certificates
        **variables,
    }
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def packages() -> Iterator[Path]:
    """A directory with Node's packages, gone afterwards: of its own ones, pytest keeps three, and this has 250 MB."""
    for program in ("node", "npm", "npx"):
        if shutil.which(program) is None:
            go_without(f"{program} is not installed")
    with TemporaryDirectory() as name:
        directory = Path(name)
        version = run("node", "--version", cwd=directory).stdout
        if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
            go_without(f"Node {OLDEST_NODE} or newer is needed, and this is {version.strip()}")
        quietly = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        patience = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000")
        installed = run("npm", "install", "--prefix", name, *quietly, *patience, *PACKAGES, cwd=directory)
        if unreachable := NO_NETWORK & set(re.findall(r"^npm error code (\w+)$", installed.stderr, flags=re.MULTILINE)):
            go_without(f"npm's registry cannot be reached: {', '.join(unreachable)}")
        assert installed.returncode == 0, installed.stderr
        yield directory


@contextmanager
def database_by_tcp(binaries: Path) -> Iterator[URL]:
    """A database at head that listens as those do which the README's command is for."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    with temporary_server(binaries, SCRATCH, listen_addresses="127.0.0.1", port=str(port)) as server:
        url = server.url().set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
        alembic(url, "upgrade", "head")
        yield url


def allowed_roles(url: URL) -> str:
    """What the CHECK lets in as users.role, as a type of TypeScript."""
    with connect(url) as connection:
        found = connection.execute("""
            SELECT pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conrelid = 'public.users'::regclass AND conname = 'users_role_check'
        """).fetchone()
    assert found is not None
    return " | ".join(f'"{role}"' for role in re.findall(r"'(\w+)'", found[0]))


def test_a_client_compiles_and_what_is_wrong_does_not(binaries: Path, packages: Path) -> None:
    (command,) = [block for block in blocks("sh") if "gen types" in block]
    (narrowing,) = blocks("ts")
    with database_by_tcp(binaries) as url:
        generated = run("bash", "-c", command, cwd=packages, DATABASE_URL=libpq_url(url))
        assert generated.returncode == 0, generated.stderr
        roles = allowed_roles(url)
    (packages / "database.ts").write_text(narrowing)
    (packages / "right.ts").write_text(CLIENT + KEY_TYPES.replace("ROLES", roles) + RIGHT)
    (packages / "wrong.ts").write_text(CLIENT + WRONG)
    # skipLibCheck: supabase-js' own declarations want those of Node.
    options = ("--strict", "--noEmit", "--skipLibCheck", "--module", "nodenext")
    compiled = run("npx", "--no-install", "tsc", *options, "right.ts", "wrong.ts", cwd=packages)
    errors = re.findall(r"^(\S+)\((\d+),\d+\): error", compiled.stdout, flags=re.MULTILINE)
    refused = [(packages / file).read_text().splitlines()[int(line) - 1] for file, line in errors]
    assert refused == WRONG.split("\n")[1:-1], compiled.stdout + compiled.stderr
