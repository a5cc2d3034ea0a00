"""The commands of docs/hardware.md, one after the other, in a rack as the page says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from service.lab.up import LabSettings
from service.racks_csv import COLUMNS
from tests.lab.test_boot import until
from tests.lab.world import TOKEN, lab

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", _PAGE, re.DOTALL) for line in block.splitlines()]


def test_the_page_has_every_column_as_the_import_knows_it() -> None:
    told = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", _PAGE, re.MULTILINE)
    assert {name: meaning for name, _, meaning in told} == {name: meaning for name, (_, meaning) in COLUMNS.items()}


async def test_every_command_of_the_page_does_what_it_is_shown_for(database_url: str, tmp_path: Path) -> None:
    asked = LabSettings(machines=2, leaves=1, strangers=1)
    async with lab(database_url, tmp_path / "state", asked, newcomer_burn_in_s=1) as (running, _):
        db, access = running.service.db, running.rack.bmc_access()
        for stranger in running.rack.strange:
            await running.rack.machines[stranger].power_on("none")
        environment = {
            **os.environ,
            "ROUNDHOUSE_API": running.api,
            "ROUNDHOUSE_TOKEN": TOKEN,
            "BMC_URL": access["url"],
            "BMC_USERNAME": access["username"],
            "BMC_PASSWORD": access["password"],
        }
        program = f'roundhouse() {{ "{sys.executable}" -W ignore -m service.cli.main "$@"; }}'
        said = {}

        async def at_rest() -> bool:
            return not await db.fetchval("SELECT count(*) FROM run WHERE finished_at IS NULL")

        for command in COMMANDS:
            await until(at_rest)
            script = f"set -eo pipefail; export PYTHONPATH={_ROOT}; {program}\n{command}\n"
            shell = await asyncio.create_subprocess_exec(
                *("bash", "-c", script),
                cwd=tmp_path,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output = (await shell.communicate())[0].decode()
            assert shell.returncode == 0, (command, output)
            said[command] = output
        assert "0 to make, 0 to change" in said["roundhouse machine import racks.csv --dry-run"]
        assert "new power supply" in said["roundhouse machine list --state maintenance"]
        assert "retired" in said["roundhouse machine list --state retired"]
        # The stranger came in on the way.
        states = {row["name"]: row["state"] for row in await db.fetch("SELECT name, state FROM machine")}
        assert states == {"m0001": "ready", "m0002": "retired", "leaf1-xe-0-0-2": "ready"}
