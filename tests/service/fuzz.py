"""`python -m tests.service.fuzz`: schemathesis against the whole API, on a real socket, by all kinds of token.

All of its checks and phases are on: examples, coverage, fuzzing, stateful. The world has devices, addresses, keys and
machines whose ids its requests name four times in five; otherwise hardly one would come past a 404.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from service.log import configure_log
from service.store.embedded import embedded_postgres
from service.store.events import add_event
from service.store.rows import open_pool
from sql.migrate import migrate
from tests.service.api_world import ED25519, TOKEN, World, open_world

TOKENS = {"staff": TOKEN, "customer": "tenant-token", "read-only": "reading-token", "project": "project-token"}
_DEVICES, _KEYS, _PROJECTS = 12, 6, 4

# Whether a plan, a place or an address is there is nothing that a schema could say, so 422 is an answer to a request
# that is as the schema wants it; 409 is to one that came too late, 400 to a header that cannot be sent.
_GOOD = ["2xx", "401", "403", "404", "405", "409", "422"]
_BAD = ["400", "401", "403", "404", "405", "406", "409", "413", "422"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run went: whether nothing was found, how many requests were made, and what schemathesis printed."""

    clean: bool
    cases: int
    text: str


async def ids_of(world: World) -> dict[str, Sequence[str | int]]:
    """Fill the world; the ids that paths can name, by placeholder."""
    await world.add_machines(_DEVICES * 2)
    await world.tenant_token(TOKENS["customer"])
    tenant = await world.db.fetchval("SELECT user_id FROM api_token WHERE digest = sha256($1)", b"tenant-token")
    await world.add_token(TOKENS["read-only"], user_id=tenant, read_only=True)
    await world.add_token(TOKENS["project"], project_id=world.project)
    projects = [str(world.project)]
    for number in range(_PROJECTS):
        projects.append(str((await world.call("POST", "/projects", {"name": f"project {number}"})).body["id"]))
    devices = [(await world.order(hostname=f"web{number}")).body["id"] for number in range(_DEVICES)]
    keys = []
    for number in range(_KEYS):
        key = {"label": f"key {number}", "key": ED25519[:-4] + f"{number:04d}"}
        answer = await world.call("POST", f"/projects/{world.project}/ssh-keys", key)
        keys.append(answer.body["id"])
    for device in devices:
        await add_event(world.db, "provisioning.101", "Provisioning started", device_id=UUID(device))
    prefixes = await world.db.fetch("SELECT id FROM prefix")
    ips = await world.call("GET", f"/projects/{world.project}/ips?per_page=20")
    events = await world.call("GET", "/events?per_page=20")
    machines = await world.db.fetch("SELECT id, name FROM machine")
    return {
        "project": projects,
        "organization": [str(world.organization)],
        "device": devices,
        "key": keys,
        "user": [str(world.user), str(tenant)],
        "ip": [one["id"] for one in ips.body["ip_addresses"]] + ["203.0.113.1", "10.0.0.1"],
        "event": [one["id"] for one in events.body["events"]],
        "prefix": [row["id"] for row in prefixes],
        "machine": [str(row["id"]) for row in machines[:4]] + [row["name"] for row in machines[:4]],
        "leaf": ["leaf-ewr1"],
        "plan": ["c1.small.x86"],
        "metro": ["ny", "sv"],
        "facility": ["ewr1", "sjc1"],
    }


def configuration(ids: Mapping[str, Sequence[str | int]]) -> str:
    """The file that schemathesis is told by."""
    lines = [
        "[checks]",
        f"positive_data_acceptance = {{ expected-statuses = {json.dumps(_GOOD)} }}",
        f"negative_data_rejection = {{ expected-statuses = {json.dumps(_BAD)} }}",
    ]
    for name, values in ids.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(list(values))}"]
    lines.append("[parameters]")
    lines += [f'"path.{name}" = {{ dictionary = "{name}", probability = 0.8 }}' for name in ids]
    lines += [  # these wait for something to happen: the hundreds of requests of the coverage phase would take hours
        "[[operations]]",
        'include-path-regex = "/(wait|stream|drift)$"',
        "generation = { max-examples = 1 }",
        "phases = { coverage = { enabled = false } }",
        "checks = { max_response_time = 90 }",
    ]
    lines += [  # these have a leaf read first, and no process drives one here
        "[[operations]]",
        'include-path-regex = "/(plans|apply|facility-events|replay)$"',
        "checks = { max_response_time = 30 }",
    ]
    return "\n".join(lines) + "\n"


async def fuzz(world: World, ids: Mapping[str, Sequence[str | int]], kind: str, folder: Path, *options: str) -> Outcome:
    """Run schemathesis with a kind of token; `options` are its own."""
    file = folder / f"{kind}.toml"
    file.write_text(configuration(ids))
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(file), "run", f"{world.url}/openapi.json"),
        *("--header", f"X-Auth-Token: {TOKENS[kind]}", "--checks", "all", "--request-timeout", "60", "--no-color"),
        # A stream of events has no end, and schemathesis 4.32 reads none with Python 3.11's HTTP client.
        *("--exclude-path-regex", "/stream$"),
        *("--suppress-health-check", "all", "--warnings", "off", "--generation-database", "none", *options),
    ]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace")
    cases = re.search(r"(\d+) generated", text)
    return Outcome(process.returncode == 0, int(cases[1]) if cases else 0, text)


@asynccontextmanager
async def _world(folder: Path) -> AsyncIterator[World]:
    with embedded_postgres(folder / "pg", durable=False) as url:
        async with await open_pool(url) as db:
            async with db.acquire() as conn:
                await migrate(conn)
            state = folder / "state"
            state.mkdir()
            async with open_world(db, url, state) as world:
                yield world


async def _main(arguments: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="roundhouse-fuzz-"))
    folder.chmod(0o755)  # as root, the server of the database runs as a user of its own
    total, clean = 0, True
    try:
        async with _world(folder) as world:
            ids = await ids_of(world)
            for kind in arguments.tokens.split(","):
                options = ["--max-examples", str(arguments.examples), "--seed", str(arguments.seed), *arguments.rest]
                found = await fuzz(world, ids, kind, folder, *options)
                print(f"== {kind}\n{found.text}", flush=True)
                total, clean = total + found.cases, clean and found.clean
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{total} requests, {'nothing found' if clean else 'something found'}")
    return 0 if clean else 1


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.service.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=10, help="requests per operation and phase (10)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", default=",".join(TOKENS), help=f"of {', '.join(TOKENS)} (all)")
    parser.add_argument("--log", action="store_true", help="print what the service logs")
    parser.add_argument("rest", nargs="*", help="options of schemathesis, after --")
    arguments = parser.parse_args()
    configure_log()
    with Path(os.devnull).open("w") as nowhere:
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=sys.stderr if arguments.log else nowhere))
        return asyncio.run(_main(arguments))


if __name__ == "__main__":
    sys.exit(main())
