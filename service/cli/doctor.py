"""`roundhouse doctor`: what stands in the way of a working service, told one check a line."""

from __future__ import annotations

import asyncio
import os
import shutil
from argparse import Namespace
from collections.abc import Callable

import asyncpg

from images.checking import set_aside
from pxe.first_stage import collect_first_stages
from service.artefacts import Artefacts, NotBuilt
from service.cli.client import CallFailed, Client, environment
from service.cli.output import Output
from service.log import log_from
from service.settings import BadSetting, Settings, image_keys_of, images_of, read_settings
from sql.migrate import migrations

_ROOM_BYTES = 2 << 30  # images and the embedded database need this much at least

_NEEDED = {"undionly.kpxe", "snponly.efi"}  # what most firmware asks for; the rest is for some machines only

Check = tuple[str, Callable[[], str]]


class Ill(Exception):
    """A check found something that an operator has to put right."""


def _settings() -> str:
    try:
        read_settings()
    except (BadSetting, OSError, ValueError) as err:
        raise Ill(str(err)) from None
    file = os.environ.get("ROUNDHOUSE_SETTINGS")
    return f"read from {file} and the environment" if file else "read from the environment"


def _state_dir(settings: Settings) -> str:
    folder = settings.state_dir.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise Ill(f"{there} cannot be written to")
    free = shutil.disk_usage(there).free
    if free < _ROOM_BYTES:
        raise Ill(f"{there} has {free >> 20} MiB left; {_ROOM_BYTES >> 20} MiB are needed")
    key = folder / "key"
    if key.exists() and key.stat().st_mode & 0o077:
        raise Ill(f"{key} can be read by others: chmod 600")
    return f"{folder}, {free >> 30} GiB free"


async def _database(url: str) -> str:
    conn = await asyncpg.connect(url, timeout=10)
    try:
        version = await conn.fetchval("SHOW server_version_num")
        if int(version) < 150000:
            raise Ill(f"PostgreSQL {int(version) // 10000} is too old: 15 at least")
        rows = await conn.fetch("SELECT number, checksum FROM schema_migration")
    except asyncpg.UndefinedTableError:
        raise Ill("the schema is missing: run `roundhouse migrate`") from None
    finally:
        await conn.close()
    applied = {row["number"]: row["checksum"] for row in rows}
    missing = [one.title for one in migrations() if one.number not in applied]
    changed = [one.title for one in migrations() if applied.get(one.number, one.checksum) != one.checksum]
    if missing or changed:
        raise Ill(f"schema: missing {', '.join(missing) or 'nothing'}; changed {', '.join(changed) or 'nothing'}")
    return f"PostgreSQL {int(version) // 10000}, schema up to date"


def _check_database(settings: Settings) -> str:
    if not settings.database_url:
        return "the embedded one; it runs as long as the service does"
    try:
        return asyncio.run(_database(settings.database_url))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as err:
        raise Ill(str(err) or type(err).__name__) from None


def _first_stages(settings: Settings) -> str:
    folder = settings.state_dir / "first-stage"
    store = Artefacts(images_of(settings))
    missing = collect_first_stages(folder, store.first_stages)
    lacking = ", ".join(f"{file} ({source})" for file, source in sorted(missing.items()))
    if missing.keys() & _NEEDED:
        raise Ill(f"missing in {folder}: {lacking}")
    return f"{folder}, without {lacking}" if lacking else f"all in {folder}"


def _images(settings: Settings) -> str:
    images = Artefacts(images_of(settings), image_keys_of(settings))
    current = {slug: known.current for slug, known in images.index().items() if known.current}
    aside = [path for path in set_aside(images.root) if not (images.files / path.name.partition(".")[0]).exists()]
    ill = [f"{path} was moved aside as its content was wrong" for path in aside]
    for slug in current:
        try:
            images.release(slug)
        except NotBuilt as err:
            ill.append(str(err))
    if ill:
        raise Ill("; ".join(ill))
    return f"{len(current)} slugs in {images.root}"


def _boot_nodes(client: Client) -> str:
    nodes = client.get("/admin/v1/boot-nodes")["boot_nodes"]
    alive = [one for one in nodes if one["state"] == "alive"]
    if not alive:
        raise Ill("none is alive: machines that boot get no answer")
    return f"{len(alive)} alive" + (f", {len(nodes) - len(alive)} silent" if len(nodes) > len(alive) else "")


def _cables(client: Client) -> str:
    if wrong := client.get("/admin/v1/wrong-cables")["wrong_cables"]:
        raise Ill("; ".join(one["finding"] for one in wrong))
    return "no machine was seen at another's port"


def _api(client: Client) -> str:
    user = client.get("/user")
    return f"{client.url} answers {user['full_name'] or user['email']}"


def _machines(client: Client) -> str:
    machines = client.get("/admin/v1/machines")["machines"]
    if not machines:
        raise Ill("no machine is enrolled")
    out = [f"{one['name']} ({one['reason'] or 'no reason given'})" for one in machines if one["state"] == "quarantined"]
    if out:
        raise Ill(f"quarantined: {', '.join(out)}")
    ready = sum(one["state"] == "ready" for one in machines)
    return f"{len(machines)}, {ready} of them ready"


def _leaves(client: Client) -> str:
    leaves = client.get("/admin/v1/leaves")["leaves"]
    if not leaves:
        raise Ill("no leaf is enrolled")
    bad = [f"{one['name']} ({one['fault'] or one['state']})" for one in leaves if one["fault"] or one["faulty"]]
    if bad:
        raise Ill(f"faulty: {', '.join(bad)}")
    return f"{len(leaves)}, {sum(one['pending'] for one in leaves)} ports pending"


def _secrets(client: Client) -> str:
    found = client.get("/admin/v1/keys")
    if lost := [f"{one['place']} ({one['unreadable']})" for one in found["sealed"] if one["unreadable"]]:
        raise Ill(f"sealed with a key that is not in the key file: {', '.join(lost)}")
    total, keys = sum(one["values"] for one in found["sealed"]), len(found["keys"])
    return f"{total} sealed values can be opened" + (f", {keys} keys: one is being rotated" if keys > 1 else "")


def _runs(client: Client) -> str:
    runs = client.get("/admin/v1/runs")["runs"]
    undoing = [f"{one['workflow']} of {one['about']}" for one in runs if one["state"] == "undoing"]
    if undoing:
        raise Ill(f"being undone: {', '.join(undoing)}")
    return f"{len(runs)} under way"


def _checks(client: Client) -> list[Check]:
    checks: list[Check] = [("settings", _settings)]
    try:
        settings = read_settings()
    except (BadSetting, OSError, ValueError):
        return checks
    checks += [
        ("state folder", lambda: _state_dir(settings)),
        ("database", lambda: _check_database(settings)),
        ("images", lambda: _images(settings)),
        ("first-stage files", lambda: _first_stages(settings)),
        ("api", lambda: _api(client)),
    ]
    if environment("TOKEN"):
        checks += [
            ("machines", lambda: _machines(client)),
            ("leaves", lambda: _leaves(client)),
            ("boot nodes", lambda: _boot_nodes(client)),
            ("cables", lambda: _cables(client)),
            ("runs", lambda: _runs(client)),
            ("secrets", lambda: _secrets(client)),
        ]
    return checks


def run(args: Namespace, client: Client, out: Output) -> int:
    """Check settings, state folder, database, API, machines, leaves and runs."""
    found = []
    with log_from("error"):  # what a check tells is in its line
        for name, check in _checks(client):
            try:
                found.append({"check": name, "ok": True, "detail": check()})
            except (Ill, CallFailed, NotBuilt) as err:
                found.append({"check": name, "ok": False, "detail": str(err)})
    out.rows(found, [("CHECK", "check"), ("", lambda one: "ok" if one["ok"] else "ILL"), ("", "detail")])
    return 0 if all(one["ok"] for one in found) else 1
