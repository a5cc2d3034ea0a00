"""What a machine's boot loader is told: the script of the port that asks, by the database's word, or the index's."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

import structlog

from images.native.contract import CannotExpress
from images.store import StoredFile
from pxe.decide import Arch, Script, Target
from service.artefacts import NotBuilt
from service.boot.decider import Saw
from service.boot.facts import PortFacts, boot_target
from service.boot.feed import boot_link_query, facts_of
from service.boot.index import BootIndex
from service.boot.token import issue
from service.lifecycle import MachineState
from service.native.rendering import NoMirror, rendered
from service.native.token import issue_native
from service.parts import Parts
from service.spellings import MAC
from service.store.events import add_event
from service.store.native import native_on_machine
from service.store.rows import AWAY, Pool
from service.store.runs import signal_all
from service.workflows.install import engine_for
from sql.loader import Q

log = structlog.get_logger()

_PATIENCE_S = 1.0  # for the database; iPXE itself is told within it either way
_MAC = re.compile(MAC)
_CONSOLES = {
    "amd64": "console=tty0 console=ttyS0,115200",
    "arm64": "console=tty0 console=ttyS0,115200 console=ttyAMA0,115200",
}
_CPU = {Arch.UEFI_ARM64: "arm64", Arch.BIOS: "amd64", Arch.UEFI_X64: "amd64"}


class BootScripts:
    """Answers GET /boot/ipxe and /boot/grub (`pxe.http.ScriptFor`)."""

    def __init__(self, db: Pool, parts: Parts, index: BootIndex, saw: Saw) -> None:
        """`saw` is told of a card that asks at another machine's port, as long as it does."""
        self._saw = saw
        self._db = db
        self._parts = parts
        self._index = index

    async def script_for(self, source: IPv4Address | IPv6Address, parameters: Mapping[str, str]) -> Script | None:
        """The script of whoever is at that end of a boot link; None for anyone else.

        `mac` and `arch` are what DHCP saw of the client, and came back by the URL that it gave out.
        """
        facts = await self._facts(source)
        if facts is None:
            return None
        mac = given if _MAC.fullmatch(given := parameters.get("mac", "")) else None
        entry = self._parts.catalogue.get(facts.operating_system) if facts.operating_system else None
        home = self._index.home_of(mac) if mac is not None else None
        stranger = home is not None and home.port_id != facts.port_id
        if mac is not None and (stranger or facts.foreign(mac)):
            self._saw(facts.port_id, mac)
        ipxe = entry is not None and entry.engine == "ipxe"
        target = boot_target(facts, ipxe=ipxe, mac=mac, stranger=stranger)
        if ipxe and target is Target.LOCAL_DISK and await self._once_more(facts):
            target = Target.CUSTOM_IPXE
        log.info("boot_script", port=facts.where, machine=facts.machine, state=facts.state, mac=mac, target=target)
        match target:
            case Target.CUSTOM_IPXE:
                return await self._custom(facts)
            case Target.INSTALLER if not facts.rescue and self._native(facts):
                return await self._own_installer(facts, parameters.get("arch"), source)
            case Target.INSTALLER:
                return self._installer(facts, parameters.get("arch"), source, mac or facts.mac)
            case _:
                return Script(target)

    async def _facts(self, source: IPv4Address | IPv6Address) -> PortFacts | None:
        """The port at that end of a boot link, as the database has it at this moment.

        A machine that was installed a millisecond ago must be led to its disk, so the index, which follows the database
        by some milliseconds, only answers while the database does not.
        """
        known = self._index.at(source)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                port_id = known.port_id if known else await self._db.fetchval(Q[boot_link_query(source)], source)
                row = None if port_id is None else await self._db.fetchrow(Q["boot_facts"], [port_id])
        except AWAY as err:
            log.warning("boot_script_from_memory", source=str(source), reason=str(err) or type(err).__name__)
            return known
        facts = None if row is None else facts_of(row)
        hosts = (facts.host, facts.host6) if facts is not None else ()
        return facts if any(host is not None and host.ip == source for host in hosts) else None

    async def _custom(self, facts: PortFacts) -> Script:
        """The customer's own script. It need not know us: that it was fetched is the only sign of life there is."""
        now = self._parts.clock.now()
        try:
            async with self._db.acquire() as conn, conn.transaction():
                row = await conn.fetchrow(Q["custom_boot"], facts.device_id)
                body = "Device connected to DHCP system"
                await add_event(conn, "provisioning.104.01", body, device_id=facts.device_id)
                await conn.execute(Q["set_installed"], facts.machine_id, True)
                await conn.execute(Q["record_phone_home"], facts.device_id, now)
            await signal_all(self._db, [facts.device_id], now=now)
        except AWAY as err:
            log.warning("custom_script_waits", device=str(facts.device_id), reason=str(err) or type(err).__name__)
            return Script(Target.WAIT)
        script = row["userdata"] if row["userdata"].startswith("#!ipxe") else row["ipxe_script_url"] or ""
        told = (("packet_facility", facts.facility), ("packet_plan", row["plan"]))
        return Script(Target.CUSTOM_IPXE, custom=script, settings=told)

    async def _once_more(self, facts: PortFacts) -> bool:
        """Whether an operator has allowed the machine of an active device another start of its script."""
        try:
            return bool(await self._db.fetchval(Q["pxe_allowed"], facts.device_id))
        except AWAY:
            return False

    def _native(self, facts: PortFacts) -> bool:
        """Whether the machine is being installed by its distribution's own installer."""
        if facts.state is not MachineState.INSTALLING or facts.operating_system is None:
            return False
        return engine_for(self._parts.catalogue, facts.operating_system, facts.engine) == "native"

    async def _own_installer(self, facts: PortFacts, arch: str | None, source: IPv4Address | IPv6Address) -> Script:
        """The distribution's installer with a fresh token; it begins when it has taken its files with it."""
        cpu = next((name for told, name in _CPU.items() if told == arch), facts.arch)
        token = issue_native(self._parts.key.first.secret, facts.port_id, now=self._parts.clock.now())
        try:
            if facts.machine_id is None or facts.device_id is None or facts.operating_system is None:
                return Script(Target.WAIT)
            install = await native_on_machine(self._db, facts.machine_id)
            if install is None or not install.open:  # its run has not offered one yet, or is about to take it away
                return Script(Target.WAIT)
            files = self._parts.images.netboot(facts.operating_system, cpu)
            told = await rendered(self._db, self._parts, facts.device_id, facts.machine_id, token)
        except (*AWAY, NotBuilt, NoMirror, CannotExpress) as err:
            log.error("no_native_installer", port=facts.where, reason=str(err) or type(err).__name__)
            return Script(Target.WAIT)
        base = self._parts.boot_url_for(source)
        return Script(
            Target.INSTALLER,
            kernel_url=_url(base, files.kernel),
            initrd_urls=(_url(base, files.initrd),),
            cmdline=f"{_CONSOLES[cpu]} {told.arguments}",
        )

    def _installer(
        self, facts: PortFacts, arch: str | None, source: IPv4Address | IPv6Address, mac: str | None
    ) -> Script:
        """The in-RAM installer with a fresh token that is good for one hello; its network is the card that booted."""
        cpu = next((name for told, name in _CPU.items() if told == arch), facts.arch)
        try:
            installer = self._parts.images.installer(cpu)
        except NotBuilt as err:
            log.error("no_installer", port=facts.where, reason=str(err))
            return Script(Target.WAIT)
        token = issue(
            self._parts.key.first.secret, facts.port_id, now=self._parts.clock.now(), nonce=secrets.token_bytes(8)
        )
        base = self._parts.boot_url_for(source)
        cmdline = f"{_CONSOLES[cpu]} roundhouse.url={base} roundhouse.token={token}"
        if mac is not None:
            cmdline += f" BOOTIF=01-{mac.replace(':', '-')}"
        if installer.toolbox is not None:
            cmdline += f" roundhouse.toolbox={installer.toolbox.sha256}"
        return Script(
            Target.INSTALLER,
            kernel_url=_url(base, installer.kernel),
            initrd_urls=(_url(base, installer.initrd),),
            cmdline=cmdline,
        )


def _url(base: str, artefact: StoredFile) -> str:
    return f"{base}/images/{artefact.sha256}"
