"""The light machines' iPXE: what our own scripts and a customer's make it do."""

from __future__ import annotations

import pytest

from pxe.decide import Script, Target
from pxe.ipxe import render
from service.lab.ipxe_script import BootKernel, Foreign, LocalDisk, NextDevice, Outcome, Reboot, ScriptRun


class World:
    """What a script can reach, and what it did."""

    def __init__(self, *, disk_boots: bool = False, platform: str = "pcbios") -> None:
        self.failures = 0  # so many loads fail first
        self.loads: list[str] = []
        self.pauses: list[float] = []
        self.posts: list[tuple[str, dict[str, str] | None]] = []
        self.texts: dict[str, str] = {}
        self._settings = {"platform": platform, "net0/mac": "52:54:00:00:01:01"}
        self._disk_boots = disk_boots

    async def load(self, url: str) -> int:
        self.loads.append(url)
        if self.failures:
            self.failures -= 1
            raise OSError("HTTP 503")
        return 1

    async def text(self, url: str, form: dict[str, str] | None) -> str:
        self.posts.append((url, form))
        if url not in self.texts:
            raise OSError("HTTP 404")
        return self.texts[url]

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.pauses.append(seconds)

    async def run(self, script: str) -> Outcome:
        return await ScriptRun(self.load, self.text, self.sleep, self._disk_boots, self._settings).run(script)


INSTALLER = render(Script(Target.INSTALLER, "http://h/vmlinuz", ("http://h/initrd",), "quiet a=b"))


async def test_our_installer_script_boots_the_kernel() -> None:
    world = World()
    assert await world.run(INSTALLER) == BootKernel("initrd=initrd0 quiet a=b")
    assert world.loads == ["http://h/vmlinuz", "http://h/initrd"]


async def test_our_installer_script_tries_again_with_growing_pauses() -> None:
    world = World()
    world.failures = 7
    assert await world.run(INSTALLER) == BootKernel("initrd=initrd0 quiet a=b")
    assert world.pauses == [1, 2, 4, 8, 16, 16, 16]


async def test_our_installer_script_boots_anew_in_the_end() -> None:
    world = World()
    world.failures = 1000
    assert await world.run(INSTALLER) == Reboot()
    assert 120 < sum(world.pauses) < 600


@pytest.mark.parametrize(
    ("platform", "disk_boots", "outcome"),
    [
        ("pcbios", True, LocalDisk()),
        ("pcbios", False, NextDevice(1)),
        ("efi", True, NextDevice(1)),
        ("efi", False, NextDevice(1)),
    ],
)
async def test_our_way_to_the_local_disk(platform: str, disk_boots: bool, outcome: Outcome) -> None:
    world = World(disk_boots=disk_boots, platform=platform)
    assert await world.run(render(Script(Target.LOCAL_DISK))) == outcome


async def test_our_way_to_a_customers_url() -> None:
    world = World()
    world.texts["http://c/x.ipxe"] = "#!ipxe\nkernel http://c/k console=${net0/mac}\nboot"
    assert await world.run(render(Script(Target.CUSTOM_IPXE, custom="http://c/x.ipxe"))) == BootKernel(
        "console=52:54:00:00:01:01"
    )
    world.texts["http://c/x.ipxe"] = "#!ipxe\necho nothing to do"
    assert await world.run(render(Script(Target.CUSTOM_IPXE, custom="http://c/x.ipxe"))) == NextDevice(0)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("#!ipxe", NextDevice(0)),
        ("#!ipxe\nexit 3", NextDevice(3)),
        ("#!ipxe\nshell", Foreign()),
        ("#!ipxe\nno-such-command\nreboot", NextDevice(1)),
        ("#!ipxe\nno-such-command ||\nreboot", Reboot()),
        ("#!ipxe\niseq a b && exit 1 || reboot", Reboot()),
        ("#!ipxe\nset x:string a b\niseq ${x} a || reboot", Reboot()),
        ("#!ipxe\nisset ${nothing} || goto end\nexit 1\n:end\nreboot", Reboot()),
        ("#!ipxe\ngoto nowhere", NextDevice(1)),
        ("#!ipxe\nchain http://c/missing || reboot", Reboot()),
        ("#!ipxe\nchain --autofree http://c/program", Foreign()),
    ],
)
async def test_commands(script: str, outcome: Outcome) -> None:
    world = World()
    world.texts["http://c/program"] = "\x7fELF"
    assert await world.run(script) == outcome


async def test_a_form_is_posted() -> None:
    world = World()
    await world.run("#!ipxe\nparams\nparam type x\nparam body two words\nimgfetch http://c/phone##params ||\nexit")
    assert world.posts == [("http://c/phone", {"type": "x", "body": "two words"})]
