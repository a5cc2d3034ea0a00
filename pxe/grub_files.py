"""What GRUB asks for by TFTP beside the first stages: the machine's own configuration, kernels and RAM disks."""

from __future__ import annotations

import asyncio
import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import structlog

from pxe.decide import ScriptFor
from pxe.grub import render
from pxe.ipxe import Unsafe

log = structlog.get_logger()


_CONFIGURATION = "boot/grub"
_IMAGE = re.compile(r"images/([0-9a-f]{64})")
_KEPT = 4  # images in memory: the kernels and RAM disks of two installers


class GrubFiles:
    """Answers by name and source address (`pxe.tftp.server.Ask`); None where there is no such file for that address.

    `script_for` is the one that GET /boot/grub has, `images_dir` the one of GET /images/{sha256}.
    """

    def __init__(self, script_for: ScriptFor, images_dir: Path) -> None:
        self._script_for = script_for
        self._images_dir = images_dir
        self._images: dict[str, asyncio.Task[bytes]] = {}  # the one that was asked for last stands last

    async def __call__(self, name: str, source: IPv4Address | IPv6Address) -> bytes | None:
        """Raises what `script_for` raises."""
        if name == _CONFIGURATION:
            return await self._configuration(source)
        if (image := _IMAGE.fullmatch(name)) is not None:
            return await self._image(image[1])
        return None

    async def _configuration(self, source: IPv4Address | IPv6Address) -> bytes | None:
        script = await self._script_for(source, {})
        if script is None:
            log.info("boot_script_unknown", source=str(source), path=_CONFIGURATION)
            return None
        try:
            configuration = render(script)
        except Unsafe as err:
            log.warning("boot_script_unsafe", source=str(source), path=_CONFIGURATION, reason=str(err))
            return None
        log.info("boot_script_sent", source=str(source), path=_CONFIGURATION, target=str(script.target))
        return configuration.encode()

    async def _image(self, sha256: str) -> bytes | None:
        """Machines that boot at the same time share one copy, and one reading."""
        reading = self._images.pop(sha256, None)
        if reading is None:
            path = self._images_dir / sha256
            if not path.is_file():  # nobody displaces an image by a name that he made up
                return None
            reading = asyncio.create_task(asyncio.to_thread(path.read_bytes), name=f"read image {sha256}")
        self._images[sha256] = reading
        while len(self._images) > _KEPT:
            del self._images[next(iter(self._images))]
        try:
            return await asyncio.shield(reading)
        except OSError as err:
            self._images.pop(sha256, None)
            log.info("image_not_read", sha256=sha256, reason=str(err))
            return None
