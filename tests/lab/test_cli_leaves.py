"""`roundhouse leaf …` against a running lab: what is shown, what is asked, what is done, and how it ends."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from lxml import etree

from service.cli.main import main
from service.lab.up import Lab, LabSettings
from tests.lab.leaves import typed_in
from tests.lab.world import TOKEN, Customer, all_ready, lab

MTU = "<interfaces><interface><name>xe-0/0/0</name><mtu>1400</mtu></interface></interfaces>"


class Terminal(io.StringIO):
    """A person who has typed something already."""

    def isatty(self) -> bool:
        return True


class Desk:
    """An operator at a running lab."""

    def __init__(
        self,
        running: Lab,
        customer: Customer,
        capture: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.running = running
        self.customer = customer
        self._capture = capture
        self._monkeypatch = monkeypatch

    async def __call__(self, *words: str, noun: str = "leaf", says: str | None = None) -> tuple[int, str, str]:
        """Exit status, standard output and standard error; `says` is typed at a terminal."""
        self._monkeypatch.setattr("sys.stdin", io.StringIO() if says is None else Terminal(says))
        self._capture.readouterr()
        try:
            status = await asyncio.to_thread(main, [noun, *words])
        except SystemExit as exit_:  # argparse's own way out
            status = int(str(exit_.code))
        said = self._capture.readouterr()
        return status, said.out, said.err


@pytest.fixture
async def desk(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Desk]:
    """A lab with two machines on one leaf, and a shell beside it."""
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        monkeypatch.setenv("ROUNDHOUSE_API", running.api)
        monkeypatch.setenv("ROUNDHOUSE_TOKEN", TOKEN)
        with structlog.testing.capture_logs():  # the service's log is not the command's output
            yield Desk(running, customer, capsys, monkeypatch)


async def test_drift_is_seen_planned_agreed_to_and_repaired(desk: Desk) -> None:
    status, out, err = await desk("drift", "leaf1", "--read")
    assert (status, err) == (0, "") and out.startswith("0 objects have drifted on leaf1, as it was read at ")
    await typed_in(desk.running.rack, "leaf1", MTU)
    status, out, _ = await desk("drift", "leaf1", "--read")
    assert status == 0 and out.startswith("[edit interfaces xe-0/0/0]\n-  mtu 9216;\n+  mtu 1400;\n")
    assert "1 object has drifted" in out and re.search(r"^interfaces xe-0/0/0 +xe-0/0/0$", out, re.MULTILINE)
    assert re.search(r"^leaf1 .* 1 ", (await desk("list"))[1], re.MULTILINE)
    status, out, err = await desk("repair", "leaf1", "--plan")
    assert (status, err) == (0, "") and out.startswith("[edit interfaces xe-0/0/0]\n-  mtu 1400;\n+  mtu 9216;\n")
    assert "touches 1 port, 1 machine, 0 devices, 0 customers on leaf1, as it was read at " in out
    status, out, err = await desk("repair", "leaf1")
    assert status == 2 and "mtu 9216" in out and "nothing is done; say --yes" in err
    status, _, err = await desk("repair", "leaf1", says="y\n")
    assert status == 2 and err.endswith("nothing is done\n")
    assert b"<mtu>1400</mtu>" in _running(desk)
    status, out, err = await desk("repair", "leaf1", "--wait", says="yes\n")
    assert status == 0 and out.endswith("repair on leaf1 is done\n") and "Say yes" in err
    assert b"<mtu>1400</mtu>" not in _running(desk)
    status, out, _ = await desk("plans", "leaf1", "--json")
    assert [one["state"] for one in json.loads(out)] == ["done", "planned", "planned", "planned"]


def _running(desk: Desk) -> bytes:
    return etree.tostring(desk.running.rack.leaves["leaf1"].running)


async def test_what_was_planned_is_applied_once(desk: Desk) -> None:
    await typed_in(desk.running.rack, "leaf1", MTU)
    _, out, _ = await desk("repair", "leaf1", "--plan", "--json")
    plan = json.loads(out)
    status, out, _ = await desk("apply", plan["id"], "--wait", "--json")
    assert status == 0 and json.loads(out)["state"] == "done"
    status, out, err = await desk("apply", plan["id"])
    assert (status, out) == (1, "") and err.startswith("roundhouse: leaf apply: the plan was carried out at ")
    assert (await desk("apply", "nonsense"))[2] == "roundhouse: leaf apply: Not found\n"


async def test_accepted_drift_is_listed_and_revoked(desk: Desk) -> None:
    await typed_in(desk.running.rack, "leaf1", MTU)
    status, out, err = await desk("accept", "leaf1", "xe-0/0/1", "--yes")
    assert (status, out) == (1, "") and "allowed are 'interfaces xe-0/0/0'" in err and err.count("\n") == 1
    status, out, _ = await desk("accept", "leaf1", "interfaces xe-0/0/0", "--yes", "--wait")
    assert status == 0 and "! interfaces xe-0/0/0 stays as it runs" in out
    _, out, _ = await desk("drift", "leaf1", "--read")
    assert "ACCEPTED OBJECT" in out and "0 objects have drifted" in out
    assert (await desk("revoke", "leaf1", "--yes", "--wait"))[0] == 0
    assert b"<mtu>1400</mtu>" not in _running(desk)


async def test_a_devices_port_goes_to_maintenance_and_back(desk: Desk) -> None:
    await desk.customer.until(await desk.customer.order(), "active")
    port = await desk.running.service.db.fetchval("SELECT name FROM leaf_port WHERE device_id IS NOT NULL")
    status, out, _ = await desk("profile", "leaf1", "maintenance", port, "--yes", "--wait")
    assert status == 0 and "active → maintenance" in out and "1 customer (Roundhouse)" in out
    assert "! host0 of" in out
    status, _, err = await desk("profile", "leaf1", "provisioning", port, "--yes")
    assert status == 1 and "may become active, rescue, maintenance, quarantine" in err
    assert (await desk("profile", "leaf1", "active", port, "--yes", "--wait"))[0] == 0
    assert (await desk("profile", "leaf1", "open", port))[0] == 2


async def test_what_the_leaf_refuses_is_told_with_its_reason(desk: Desk) -> None:
    desk.running.rack.leaves["leaf1"].faults.refuse_always = "mgd: license limit reached"
    status, out, err = await desk("profile", "leaf1", "maintenance", "xe-0/0/0", "--yes", "--wait")
    assert status == 1 and "is refused: " in out and "license limit reached" in out, (out, err)


async def test_swapped_cables_are_shown_and_put_right(desk: Desk) -> None:
    desk.running.rack.swap("m0001", "m0002")
    await desk("drift", "leaf1", "--read")
    status, out, _ = await desk("neighbors", "leaf1")
    assert status == 0 and "m0001 and m0002 are swapped: leaf1 xe-0/0/0 sees m0002, leaf1 xe-0/0/1 m0001" in out
    status, out, _ = await desk("recable", "leaf1", "--yes", "--wait")
    assert status == 0 and "! m0001: leaf1 xe-0/0/0 → leaf1 xe-0/0/1" in out
    assert "m0001 is seen, as recorded" in (await desk("neighbors", "leaf1"))[1]
    status, out, err = await desk("prepare", "m0001", noun="machine")
    assert status == 0 and "preparing" in out, err
    assert (await desk("prepare", "m9999", noun="machine"))[0] == 1
    await all_ready(desk.running.service.db)


async def test_the_fabric_is_set_from_a_file(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "fabric.json"
    uplink = {
        "name": "et-0/0/50",
        "address": "10.255.1.1/31",
        "peer": "10.255.1.0",
        "peer_as": 4200000001,
        "description": "spine9",
    }
    fabric = {"asn": 4200012001, "loopback": ["10.255.255.40/32"], "uplinks": [uplink], "management": ["127.0.0.0/8"]}
    file.write_text(json.dumps(fabric))
    assert (await desk("fabric", "leaf1"))[1] == "null\n"
    status, out, err = await desk("fabric", "leaf1", "--file", str(file), "--yes", "--wait")
    assert status == 0 and "4200012001" in out and "touches 2 ports" in out, (out, err)
    assert json.loads((await desk("fabric", "leaf1"))[1]) == fabric
    assert "4200012001" in "\n".join(desk.running.rack.leaves["leaf1"].set_lines())
    status, _, err = await desk("fabric", "leaf1", "--file", str(file), "--yes")
    assert status == 1 and "is that already" in err
    file.write_text("{")
    assert "is no JSON" in (await desk("fabric", "leaf1", "--file", str(file)))[2]
    status, out, err = await desk("fabric", "leaf1", "--remove", "--yes", "--wait")
    assert status == 0 and "-  group rh-fabric {" in out, (out, err)
    assert "4200012001" not in "\n".join(desk.running.rack.leaves["leaf1"].set_lines())


async def test_leaves_are_listed_shown_and_printed(desk: Desk) -> None:
    status, out, _ = await desk("show", "leaf1")
    assert status == 0 and "database" in out and "candidate" in out and "m0002" in out
    status, out, _ = await desk("config", "leaf1")
    assert status == 0 and "set interfaces xe-0/0/0 mtu 9216\n" in out
    assert "<mtu>9216</mtu>" in (await desk("config", "leaf1", "--xml"))[1]
    assert json.loads((await desk("config", "leaf1", "--running", "--json"))[1])["leaf"] == "leaf1"
    status, out, err = await desk("drift", "leaf9")
    assert (status, out, err) == (1, "", "roundhouse: leaf drift: Not found\n")
    status, out, _ = await desk("database", "leaf1", "private", "--plan")
    assert status == 0 and "! A private candidate cannot be committed on trial" in out


async def test_a_new_leaf_s_first_configuration_is_printed(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "root"
    file.write_text("$6$salt$" + "x" * 86 + "\n")
    words = ("bootstrap", "leaf1", "--address", "192.0.2.12/24", "--root-hash-file", str(file))
    status, out, err = await desk(*words, "--gateway", "192.0.2.1", "--ntp-server", "192.0.2.123")
    assert (
        (status, err) == (0, "") and out.startswith("system {\n    host-name leaf1;") and "address 192.0.2.12/24" in out
    )
    assert re.search(r'user roundhouse \{[^}]*\{\s*encrypted-password "\$6\$[^$]{16}\$[^"]{86}";', out)
    status, out, err = await desk(*words, "--gateway", "198.51.100.1")
    assert (status, out) == (1, "") and "198.51.100.1 is no other address of 192.0.2.0/24" in err
    status, out, err = await desk(*words, "--gateway", "here")
    assert status == 1 and "gateway" in err.lower() and "'here'" in err
