"""`roundhouse reservation` and `roundhouse usage` against the real API."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta

from tests.service.api_world import World
from tests.service.shell import Shell


async def test_a_reservation_from_its_making_to_its_end(world: World, shell: Shell) -> None:
    await world.add_machines(1)
    await world.call("POST", "/projects", {"name": "second"})
    status, out, err = await shell(
        "reservation", "create", "m0", "--rate", "0.3", "--spare", "--note", "launch", "--json"
    )
    assert (status, err) == (0, "")
    made = json.loads(out)
    assert (made["machine"], made["custom_rate"], made["spare"]) == ("m0", 0.3, True)
    status, out, _ = await shell("reservation", "activate", made["id"])
    assert status == 0 and "spare" in out
    status, out, _ = await shell("reservation", "list")
    title, row = out.splitlines()
    assert title.split()[:4] == ["ID", "PLAN", "FACILITY", "READY"]
    assert row.split()[:5] == [made["id"], "c1.small.x86", "ewr1", "yes", "no"]
    assert (await shell("reservation", "move", made["id"], "--project", "second"))[0] == 0
    assert len((await shell("reservation", "list"))[1].splitlines()) == 1
    status, out, _ = await shell("reservation", "list", "--all")
    assert status == 0 and "m0" in out and "ready" in out
    assert (await shell("reservation", "end", made["id"]))[0] == 2
    status, out, _ = await shell("reservation", "end", made["id"], "--yes")
    assert (status, out) == (0, f"reservation {made['id']} has ended\n")
    status, out, err = await shell("reservation", "create", "m9")
    assert (status, out) == (1, "") and "there is no 'm9'" in err


async def test_what_was_used(world: World, shell: Shell) -> None:
    await world.add_machines(1)
    await world.order(hostname="web1")
    month = f"{datetime.now(UTC) - timedelta(days=40):%Y-%m}"
    since = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    await world.db.execute("UPDATE device SET state = 'active', active_at = $1", since)
    until = (since + timedelta(hours=10)).isoformat().replace("+00:00", "Z")
    for words in ((), ("--device", "web1")):
        status, out, err = await shell("usage", "show", "--before", until, *words)
        assert (status, err) == (0, "")
        title, row, total = out.splitlines()
        assert title.split()[:3] == ["TYPE", "NAME", "PLAN"] and row.split()[-3:] == [
            "10.000000",
            "0.400000",
            "4.000000",
        ]
        assert total == "total 4.000000"
    status, out, _ = await shell("usage", "export", "--month", month, "--organization", "Roundhouse", "--csv")
    (line,) = csv.DictReader(io.StringIO(out))
    assert status == 0 and line["name"] == "web1" and int(line["seconds"]) >= 28 * 86400
    status, out, _ = await shell("usage", "export", "--month", month, "--json")
    assert json.loads(out)["usages"][0]["project"] == "default"
    status, out, err = await shell("usage", "export", "--month", "soon")
    assert (status, out) == (1, "") and "a month is written 2026-03" in err
