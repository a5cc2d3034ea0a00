"""A configuration for nginx in front of the boot service: nginx sends the images, the service says to whom."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

ACCEL_LOCATION = "/internal/images"

_PATH = re.compile(r"/[A-Za-z0-9._/+-]*")
_ADDRESS = re.compile(r"(?:[0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, keep_trailing_newline=True
)


def configuration(listen: Sequence[str], service: str, images_dir: Path) -> str:
    """The text of the configuration.

    `listen` has the addresses that machines call, `service` is where the boot service listens, each as HOST:PORT or
    [HOST]:PORT; `images_dir` is the folder that the service serves images from, as nginx's user can read it. The
    service has to be told ACCEL_LOCATION, and to trust the address that nginx calls it from, and no other.
    Raises ValueError for what cannot stand in a configuration.
    """
    images = str(images_dir).rstrip("/")
    if not listen:
        raise ValueError("listen: no address; at least one HOST:PORT is needed")
    for name, addresses in (("listen", listen), ("service", (service,))):
        for address in addresses:
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"{name}: {address!r} is not HOST:PORT or [HOST]:PORT, with an address as HOST")
    if not _PATH.fullmatch(images):
        raise ValueError(f"images_dir: {images!r} is not an absolute path of letters, digits, and . _ / + -")
    return _TEMPLATES.get_template("nginx.conf.j2").render(
        listen=[_listen(address) for address in listen], service=service, images=images, location=ACCEL_LOCATION
    )


def _listen(address: str) -> str:
    # A socket for IPv6 that took IPv4 as well would tell nginx a machine's address in another form.
    return f"{address} ipv6only=on" if address.startswith("[") else address
