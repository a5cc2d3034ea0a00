"""The file that a new leaf is started with (ZTP), from what is enrolled and what only an operator knows."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Annotated, Literal

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from pydantic import Field

from netconf.bootstrap import Login, Management, bootstrap
from netconf.desired import Leaf
from service.api.models import Strict
from service.passwords import new_salt, sha512_crypt
from service.secrets import KeyRing, open_sealed
from service.store.leaves import LeafRow

_ROUNDS = 5000  # the scheme's own number, which a hash need not name: not every reader knows the word
Servers = Annotated[list[IPv4Address | IPv6Address], Field(max_length=8)]


class BootstrapEntry(Strict):
    """How the leaf is reached before it routes anything, and root's password as a crypt(3) hash."""

    interface: Literal["em0", "fxp0", "me0", "vme"] = "em0"
    address: IPv4Interface | IPv6Interface
    gateway: IPv4Address | IPv6Address
    name_servers: Servers = Field(default_factory=list)
    ntp_servers: Servers = Field(default_factory=list)
    root_password_hash: str


def bootstrap_file(row: LeafRow, desired: Leaf, given: BootstrapEntry, *, key: KeyRing) -> str:
    """The file; whoever has it can log in as we do, so it is as secret as our own key. Raises netconf's BadValue."""
    management = Management(
        given.interface, given.address, given.gateway, tuple(given.name_servers), tuple(given.ntp_servers)
    )
    return bootstrap(desired, _login(row, given.root_password_hash, key), management)


def _login(row: LeafRow, root: str, key: KeyRing) -> Login:
    if row.private_key is not None:
        private = load_ssh_private_key(open_sealed(key, row.private_key).encode(), None)
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return Login(row.username, root, (public,))
    hashed = sha512_crypt(open_sealed(key, row.secret), new_salt(), _ROUNDS)
    return Login(row.username, root, password_hash=hashed.replace(f"rounds={_ROUNDS}$", ""))
