"""Where a network boot leads: a table over every state, and never into work that waits for another machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.decide import Target
from service.boot.facts import boot_target, target_of
from service.lifecycle import MachineState
from tests.boot.ports import free, mac_of, port

STATES = st.sampled_from(MachineState)


@pytest.mark.parametrize(
    ("state", "installed", "ipxe", "always", "target"),
    [
        (MachineState.ENROLLED, False, False, False, Target.INSTALLER),
        (MachineState.PREPARING, False, False, False, Target.INSTALLER),
        (MachineState.PREPARING, True, False, False, Target.INSTALLER),
        (MachineState.READY, False, False, False, Target.INSTALLER),
        (MachineState.QUARANTINED, False, False, False, Target.INSTALLER),
        (MachineState.INSTALLING, False, False, False, Target.INSTALLER),
        (MachineState.INSTALLING, True, False, False, Target.LOCAL_DISK),
        (MachineState.INSTALLING, True, True, False, Target.CUSTOM_IPXE),
        (MachineState.IN_USE, True, False, False, Target.LOCAL_DISK),
        (MachineState.IN_USE, True, True, False, Target.LOCAL_DISK),
        (MachineState.IN_USE, True, True, True, Target.CUSTOM_IPXE),
    ],
)
def test_where_a_network_boot_leads(
    state: MachineState, installed: bool, ipxe: bool, always: bool, target: Target
) -> None:
    assert target_of(state, installed=installed, ipxe=ipxe, always_pxe=always) is target
    facts = port(0, state=state, installed=installed, always_pxe=always)
    assert boot_target(facts, ipxe=ipxe, mac=mac_of(0), stranger=False) is target
    assert boot_target(facts, ipxe=ipxe, mac=None, stranger=False) is target


@given(STATES, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_another_machine_never_gets_into_the_installer(
    state: MachineState, installed: bool, ipxe: bool, always: bool, stranger: bool
) -> None:
    facts = port(0, state=state, installed=installed, always_pxe=always)
    target = boot_target(facts, ipxe=ipxe, mac=mac_of(1), stranger=stranger)
    assert target in (Target.WAIT, Target.LOCAL_DISK)
    # An installed machine whose card was replaced still starts.
    if state is MachineState.IN_USE and not (ipxe and always):
        assert target is Target.LOCAL_DISK


@given(st.booleans(), st.booleans())
def test_at_a_free_port_a_machine_is_discovered_unless_it_is_somebody_elses(stranger: bool, ipxe: bool) -> None:
    target = boot_target(free(0), ipxe=ipxe, mac=mac_of(7), stranger=stranger)
    assert target is (Target.WAIT if stranger else Target.INSTALLER)
