"""IPMI 2.0 for BMCs that speak no Redfish, by ipmitool: power and the next boot, each read back.

Commands are raw bytes of the specification, so that no wording of ipmitool's is read but where it lists things. The
password reaches it by its environment or its standard input, never by its arguments.
"""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import structlog

from service.power.console import SolConsole
from service.power.errors import BmcLied, BmcLoginRefused, BmcRefused, BmcUnreachable
from service.power.redfish import BootTarget, PowerState

log = structlog.get_logger()

_PORT = 623  # IPMI 2.0 §13.1.2
_DEVICES = {"pxe": 0x04, "disk": 0x08}  # IPMI 2.0 table 28-14, boot device selector
_VALID, _EFI = 0x80, 0x20  # of the first byte of the boot flags
_OFF, _ON = 0x00, 0x01  # chassis control, §28.3
_LONGEST_IDENTIFY_S = 255
_LOGIN_WORDS = ("HMAC is invalid", "unauthorized name", "unauthorized role", "invalid role")
# Makes, by their IANA number, whose BMC tells the boot device alone, and none of its flags (§20.1 tells the make).
_NO_FLAGS = {4753: "OpenIPMI's simulator"}


class Ipmi:
    """One machine's BMC; a session is opened for each command."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        deadline_s: float = 60.0,
        poll_s: float = 1.0,
        retries: int = 4,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`url` is "ipmi://HOST" or "ipmi://HOST:PORT"; "?firmware=bios" at its end for machines that start no UEFI.

        `deadline_s` is the time for a state to be shown after it was asked for; `retries` of one message a second.
        """
        parts = urlsplit(url)
        self.username = username
        self._password = password
        self._host, self._port = parts.hostname or "", parts.port or _PORT
        self._efi = parse_qs(parts.query).get("firmware") != ["bios"]
        self._deadline_s = deadline_s
        self._poll_s = poll_s
        self._retries = retries
        self._sleep = sleep
        # SHA-256, else SHA-1 (table 22-20): asking a BMC which it knows takes seconds where it does not say.
        self._suites = ["17", "3"]

    async def __aenter__(self) -> Ipmi:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def power_state(self) -> PowerState | None:
        """What the BMC shows (§28.2). Raises PowerError's children."""
        return "on" if (await self._raw(0x00, 0x01))[0] & 1 else "off"

    async def power_on(self) -> None:
        """Turn the machine on, and return when it is shown to be on. Raises PowerError's children."""
        await self._switch(_ON, "on")

    async def power_off(self) -> None:
        """Cut the machine's power, and return when it is shown to be off. Raises PowerError's children."""
        await self._switch(_OFF, "off")

    async def power_cycle(self) -> None:
        """Off, seen, on, seen: a cycle could not be told from one that was ignored. Raises PowerError's children."""
        await self.power_off()
        await self.power_on()

    async def set_boot_once(self, target: BootTarget) -> None:
        """Choose the boot source of the next start (§28.12) and read it back (§28.13). Raises PowerError's children."""
        flags = boot_flags(target, efi=self._efi)
        await self._raw(0x00, 0x08, 0x05, *flags)
        shown = (await self._raw(0x00, 0x09, 0x05, 0x00, 0x00))[2:]
        if shown[:2] == flags[:2]:
            return
        if shown[1:2] != flags[1:2] or await self._make() not in _NO_FLAGS:
            raise BmcLied(f"boot source {target} was accepted, and the boot flags read {shown.hex(' ')}")

    async def locate(self, on: bool) -> None:
        """Have the machine's LED blink for as long as the BMC can, or not (§28.5); no BMC tells whether it does."""
        await self._raw(0x00, 0x04, _LONGEST_IDENTIFY_S if on else 0)

    async def reset_bmc(self) -> None:
        """Restart the BMC itself (§20.2, cold reset); the machine runs on. It answers nobody for a minute or more."""
        await self._raw(0x06, 0x02)

    async def change_password(self, new: str) -> None:
        """Give the user that we are another password, of 20 bytes at most. Whether it holds is shown by a login alone.

        Raises BmcUnreachable, BmcRefused.
        """
        if len(new.encode()) > 20:
            raise BmcRefused(f"IPMI passwords have 20 bytes at most (§22.30), this one has {len(new.encode())}")
        users = csv.reader((await self._run("-c", "user", "list")).splitlines())
        number = next((row[0] for row in users if len(row) > 1 and row[1] == self.username), None)
        if number is None:
            raise BmcRefused(f"this BMC lists no user {self.username}")
        await self._run("exec", "/dev/stdin", told=f"user set password {number} {_quoted(new)} 20\n")

    async def evidence(self) -> dict[str, Any]:
        """Power, sensors, log and firmware, as the BMC tells them now. Raises BmcUnreachable, BmcRefused."""
        device = await self._raw(0x06, 0x01)
        sensors = csv.reader((await self._listed("sdr", "elist", "full")).splitlines())
        entries = csv.reader((await self._listed("sel", "elist")).splitlines())
        return {
            "driver": "ipmi",
            "power": await self.power_state(),
            "bmc": [{"make": make_of(device), "firmware": f"{device[2] & 0x7F}.{device[3]:02x}"}],
            "sensors": [
                {"name": row[0], "value": row[1], "unit": row[2], "health": row[3]} for row in sensors if len(row) > 3
            ],
            "log": [
                {"log": "SEL", "id": row[0], "at": " ".join(row[1:3]), "message": ", ".join(row[3:])}
                for row in entries
                if len(row) > 3
            ],
        }

    async def serial_console(self) -> SolConsole:
        """The console, with no session at it: a BMC has one alone, and one that was left may stand for a minute yet.

        Raises BmcUnreachable, BmcLoginRefused.
        """
        try:
            await self._run("sol", "deactivate")
        except BmcLoginRefused:
            raise
        except BmcRefused:
            pass  # there was none; a BMC that gives no console says so when it is asked for it
        return SolConsole((*self._words(), "sol", "activate"), self._environment())

    async def _switch(self, control: int, wanted: PowerState) -> None:
        if await self.power_state() == wanted:
            return
        await self._raw(0x00, 0x02, control)
        waited = 0.0
        while await self.power_state() != wanted:
            if waited >= self._deadline_s:
                raise BmcLied(f"power {wanted} was accepted, and not seen within {self._deadline_s:.0f} s")
            await self._sleep(self._poll_s)
            waited += self._poll_s
        log.info("power_switched", bmc=self._host, state=wanted)

    async def _make(self) -> int:
        return make_of(await self._raw(0x06, 0x01))

    async def _raw(self, *request: int) -> bytes:
        return bytes.fromhex(await self._run("raw", *(f"0x{byte:02x}" for byte in request)))

    async def _listed(self, *words: str) -> str:
        """A table that some BMCs do not have."""
        try:
            return await self._run("-c", *words)
        except BmcRefused:
            return ""

    def _words(self) -> list[str]:
        program = shutil.which("ipmitool")
        if program is None:
            raise BmcUnreachable("ipmitool is not installed: Debian's package ipmitool")
        where = ["-I", "lanplus", "-H", self._host, "-p", str(self._port), "-U", self.username, "-E"]
        return [program, *where, "-C", self._suites[0], "-N", "1", "-R", str(self._retries)]

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "IPMI_PASSWORD": self._password}

    async def _run(self, *words: str, told: str = "") -> str:
        """What ipmitool says. Raises BmcUnreachable, BmcLoginRefused, BmcRefused."""
        status, out, err = await self._ipmitool(*words, told=told)
        if status == 0:
            return out
        if "open session response" in err and len(self._suites) > 1:
            del self._suites[0]
            return await self._run(*words, told=told)
        if "Unable to establish" not in err:
            raise BmcRefused(f"{self._host}: {words[0]} {words[1]}: {_last(err)}")
        # Only its louder voice tells a wrong password from a BMC that is not there.
        _, _, loud = await self._ipmitool("-v", "raw", "0x06", "0x01")
        if any(word in loud for word in _LOGIN_WORDS):
            raise BmcLoginRefused(f"{self._host}: user {self.username} or its password is not right")
        raise BmcUnreachable(f"{self._host} port {self._port}: no answer by IPMI 2.0")

    async def _ipmitool(self, *words: str, told: str = "") -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *self._words(),
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(),
        )
        try:
            out, err = await process.communicate(told.encode())
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")


def boot_flags(target: BootTarget, *, efi: bool) -> bytes:
    """The boot flags' five bytes for the next start alone (IPMI 2.0 table 28-14, parameter 5)."""
    return bytes([_VALID | (_EFI if efi else 0), _DEVICES[target], 0, 0, 0])


def make_of(device: bytes) -> int:
    """The maker's IANA number in the answer to Get Device ID (§20.1)."""
    return int.from_bytes(device[6:9], "little") & 0xFFFFF


def _quoted(word: str) -> str:
    """A word of ipmitool's own command language, which knows double quotes and no escapes."""
    if '"' in word or not word.isprintable():
        raise BmcRefused("an IPMI password may have no quotes and only printable characters")
    return f'"{word}"'


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
