"""A NETCONF client that sends what it is told to, byte for byte, and gives back whole replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncssh
from lxml import etree

from netconf.owned import NETCONF, tag_of
from netconf.render import Element
from service.lab.leaf import VirtualLeaf

END = b"]]>]]>"
HELLO = (
    f'<hello xmlns="{NETCONF}"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability></capabilities>'
    "</hello>"
)


class Wire:
    """A session in NETCONF 1.0's framing."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self.process = process
        self.number = 0
        self.capabilities: tuple[str, ...] = ()

    async def receive(self) -> Element:
        """The next message."""
        message: bytes = await self.process.stdout.readuntil(END)
        return etree.fromstring(message.removesuffix(END))

    async def message(self, message: bytes) -> Element:
        """Send a message as it stands, and take the answer."""
        self.process.stdin.write(message + END)
        return await self.receive()

    async def __call__(self, operation: str) -> Element:
        """Call an operation; the reply."""
        return await self.message(f'<rpc xmlns="{NETCONF}" message-id="1">{operation}</rpc>'.encode())


@asynccontextmanager
async def wire(leaf: VirtualLeaf, said: str = HELLO) -> AsyncIterator[Wire]:
    """A session with the leaf that has said hello."""
    async with (
        asyncssh.connect(
            leaf.address,
            leaf.port,
            username="rh",
            password="secret",
            known_hosts=asyncssh.import_known_hosts(f"[{leaf.address}]:{leaf.port} {leaf.host_key}\n"),
            config=None,
            client_keys=None,
        ) as connection,
        connection.create_process(subsystem="netconf", encoding=None) as process,
    ):
        made = Wire(process)
        hello = await made.receive()
        made.capabilities = tuple((one.text or "") for one in hello.iter() if tag_of(one) == "capability")
        made.number = next(int(one.text or "") for one in hello if tag_of(one) == "session-id")
        process.stdin.write(said.encode() + END)
        yield made


def bare(element: Element) -> Element:
    """A copy without namespaces, and without the white space around what is said."""
    made = etree.Element(tag_of(element), {str(name).rpartition("}")[2]: str(value) for name, value in element.items()})
    made.text = (element.text or "").strip() or None
    made.extend(bare(child) for child in element)
    return made


def told(reply: Element, path: str) -> list[str]:
    """What the elements at a path below a reply say."""
    return [one.text or "" for one in bare(reply).findall(path)]


def kinds(reply: Element) -> list[str]:
    """The tags of what stands in a reply, with the severity of errors."""
    return [
        f"{one.tag} {one.findtext('error-severity')}" if one.tag == "rpc-error" else str(one.tag) for one in bare(reply)
    ]
