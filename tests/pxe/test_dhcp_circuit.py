"""Vendors' circuit-ids: each form of the table by its example, and what several of them may mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.decide import Reading
from pxe.dhcp.circuit import BINARY_FORMS, TEXT_FORMS, BinaryForm, TextForm, readings

MAC = bytes.fromhex("02000000000a")


@pytest.mark.parametrize(
    ("circuit_id", "remote_id", "meant"),
    [
        ("xe-0/0/12.0", "leaf1", [("xe-0/0/12", "leaf1")]),
        ("et-0/0/0:0.0", "leaf1", [("et-0/0/0:0", "leaf1"), ("et-0/0/0", "leaf1")]),
        ("xe-0/0/14:2", "leaf1", [("xe-0/0/14:2", "leaf1"), ("xe-0/0/14", "leaf1")]),
        ("ge-0/0/0.0:v100", "leaf1", [("ge-0/0/0", "leaf1")]),
        ("ge-4/1/1:122-500", "leaf1", [("ge-4/1/1", "leaf1")]),
        ("et-1/0/61", None, [("et-1/0/61", None)]),
        ("ae52.0", "leaf1", [("ae52", "leaf1")]),
        ("leaf1:xe-0/0/12.0", None, [("xe-0/0/12", "leaf1"), ("xe-0/0/12", None)]),
        ("leaf1/system;vrf:xe-0/0/12.0", None, [("xe-0/0/12", "leaf1"), ("xe-0/0/12", None)]),
        ("vrf:xe-0/0/12.0", "leaf1", [("xe-0/0/12", "leaf1")]),
        ("Ethernet3/17/1", MAC, [("Ethernet3/17/1", None)]),
        ("Ethernet14:Vlan2001", MAC, [("Ethernet14", None)]),
        ("Ethernet10:2020", "leaf1", [("Ethernet10", "leaf1")]),
        ("Ethernet1/3", None, [("Ethernet1/3", None)]),
        ("leaf1:Ethernet0:Vlan1000", MAC, [("Ethernet0", "leaf1"), ("Ethernet0", None)]),
        ("Gi1/10:2020", None, [("Gi1/10", None)]),
        ("HundredGigE0/0/0/1.100", None, [("HundredGigE0/0/0/1", None)]),
        ("ethernet1/1/5:2", None, [("ethernet1/1/5:2", None), ("ethernet1/1/5", None)]),
        ("ethernet-1/12.0", None, [("ethernet-1/12", None)]),
        ("leaf1|100|1/1/12:200", None, [("1/1/12", "leaf1"), ("1/1/12", None)]),
        ("GE1/0/12:100.0 leaf1/0/0/0/0/0", MAC, [("GE1/0/12", "leaf1"), ("GE1/0/12", None)]),
        ("eth1/0/12:100.0 leaf10/0/0/0/0", MAC, [("1/0/12", None)]),
        ("leaf1 eth 1/0/12:100", MAC, [("1/0/12", "leaf1"), ("1/0/12", None)]),
        ("eth 0/0/5:30.3611 0/0/0/0/0/0", None, [("0/0/5", None)]),
        ("swp12s0", None, [("swp12s0", None)]),
        ("swp12.100", None, [("swp12", None)]),
        ("p0\0", "leaf1\0", [("p0", "leaf1")]),
        (b"\x01\x0bxe-0/0/12.0", b"\x01\x05leaf1", [("xe-0/0/12", "leaf1")]),
        (bytes.fromhex("000400640105"), b"\0\6" + MAC, [("1/5", None), ("1/0/5", None), ("0/1/5", None)]),
        (bytes.fromhex("1a001000"), None, [("Ethernet1/2", None)]),
        (bytes.fromhex("00041a080000"), None, [("Ethernet2/1", None)]),
        ("xe-0/0/12.0", "02:00:00:00:00:0a", [("xe-0/0/12", None)]),
        ("xe-0/0/12.0", "0200.0000.000a", [("xe-0/0/12", None)]),
        ("xe-0/0/12.0", "two words", [("xe-0/0/12", None)]),
        ("irb.100", None, [("irb", None)]),
        ("rack 7, third from below", None, []),
        ("0/0/12", None, []),
        ("", None, []),
        (b"\xff\xfe", b"\xff", []),
        (b"\0\4\0\0\1\5", None, []),
    ],
    ids=str,
)
def test_meant(circuit_id: str | bytes, remote_id: str | bytes | None, meant: list[tuple[str, str | None]]) -> None:
    raw = circuit_id.encode() if isinstance(circuit_id, str) else circuit_id
    remote = remote_id.encode() if isinstance(remote_id, str) else remote_id
    assert readings(raw, remote) == tuple(Reading(port, node) for port, node in meant)


@pytest.mark.parametrize("form", TEXT_FORMS, ids=lambda form: form.vendor)
def test_a_text_form_reads_its_example(form: TextForm) -> None:
    match = form.pattern.fullmatch(form.example)
    assert match
    assert match["port"] in {reading.port for reading in readings(form.example.encode(), None)}


@pytest.mark.parametrize("form", BINARY_FORMS, ids=lambda form: form.vendor)
def test_a_binary_form_reads_its_example(form: BinaryForm) -> None:
    ports = form.ports(form.example)
    assert ports
    assert set(ports) <= {reading.port for reading in readings(form.example, None)}


@given(st.binary(max_size=255), st.none() | st.binary(max_size=255))
def test_it_never_raises(circuit_id: bytes, remote_id: bytes | None) -> None:
    for reading in readings(circuit_id, remote_id):
        assert reading.port.isascii()
        assert reading.port.isprintable()


@given(st.text("xegtahnvlrf0129:/.|;- ", max_size=40), st.none() | st.text("leaf1-. ", max_size=10))
def test_text_that_looks_like_a_port(circuit_id: str, remote_id: str | None) -> None:
    for reading in readings(circuit_id.encode(), remote_id.encode() if remote_id is not None else None):
        assert reading.port in circuit_id
        assert reading.node is None or reading.node in circuit_id or reading.node == remote_id


@given(st.integers(0, 127), st.integers(0, 3), st.integers(0, 200), st.integers(0, 4095))
def test_every_junos_port(fpc: int, pic: int, port: int, unit: int) -> None:
    name = f"xe-{fpc}/{pic}/{port}"
    assert readings(f"{name}.{unit}".encode(), b"leaf1") == (Reading(name, "leaf1"),)
