"""NETCONF messages: a hello and a reply made, a call read (RFC 6241 §4, §8.1). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lxml import etree

from netconf.owned import NETCONF, tag_of
from netconf.render import Element
from service.lab.leaf.datastore import EditError

JUNOS = "http://xml.juniper.net/junos/21.4R0/junos"


def hello(capabilities: Iterable[str], session: int) -> bytes:
    """The server's hello."""
    made = etree.Element("hello", nsmap={None: NETCONF})  # type: ignore[dict-item]
    listed = etree.SubElement(made, "capabilities")
    for capability in capabilities:
        etree.SubElement(listed, "capability").text = capability
    etree.SubElement(made, "session-id").text = str(session)
    return etree.tostring(made)


def parsed(message: bytes) -> Element:
    """The message without comments and the like. Raises EditError for what is no XML, or has a document type."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, remove_blank_text=True, remove_comments=True, remove_pis=True
    )
    try:
        call = etree.fromstring(message, parser)
    except etree.XMLSyntaxError as err:
        raise EditError("malformed-message", f"no XML: {err}", layer="rpc") from None
    if call.getroottree().docinfo.doctype:  # type: ignore[union-attr]
        raise EditError("malformed-message", "a document type declaration", layer="rpc")  # RFC 6241 §3
    return call


def operation_of(call: Element) -> Element:
    """The one operation of a call. Raises EditError."""
    if tag_of(call) != "rpc":
        raise EditError("malformed-message", f"a message is an rpc, not a {tag_of(call)}", layer="rpc")
    if not len(call):
        raise EditError("missing-element", "the call has no operation", bad_element="rpc", layer="rpc")
    if len(call) > 1:
        extra = tag_of(call[1])
        raise EditError("malformed-message", "the call has several operations", bad_element=extra, layer="rpc")
    return call[0]


def reply(call: Element | None, parts: Sequence[Element]) -> bytes:
    """The `<rpc-reply>`, with all attributes of the `<rpc>` (RFC 6241 §4.2).

    The parts have no namespace: they come to stand in NETCONF's, but for those with an `xmlns` attribute of their own.
    """
    namespaces = {prefix: uri for prefix, uri in ({} if call is None else call.nsmap).items() if prefix is not None}
    root = etree.Element("rpc-reply", nsmap={**namespaces, "junos": JUNOS})
    for name, value in {} if call is None else call.attrib.items():
        root.set(name, value)
    root.set("xmlns", NETCONF)
    root.extend(parts)
    return etree.tostring(root)


def error(err: EditError, severity: str = "error") -> Element:
    """An `<rpc-error>` (RFC 6241 §4.3)."""
    made = etree.Element("rpc-error")
    for tag, text in (
        ("error-type", err.layer),
        ("error-tag", err.tag),
        ("error-severity", severity),
        ("error-path", err.path),
        ("error-message", err.message),
    ):
        if text:
            etree.SubElement(made, tag).text = text
    details = {"bad-element": err.bad_element, "session-id": "" if err.session is None else str(err.session)}
    if any(details.values()):
        info = etree.SubElement(made, "error-info")
        for tag, text in details.items():
            if text:
                etree.SubElement(info, tag).text = text
    return made
