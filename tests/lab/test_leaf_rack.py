"""What the leaves of a rack hear and see of the machines that are plugged into them."""

from __future__ import annotations

from netconf.lldp import LldpNeighbor
from service.lab.rack import Rack, RackSettings, mac_of


def heard(rack: Rack, leaf: str = "leaf1") -> list[tuple[str, str]]:
    return [(one.port, one.chassis_id) for one in sorted(rack.leaves[leaf].neighbors)]


def up(rack: Rack) -> list[str]:
    interfaces = rack.leaves["leaf1"].condition().interfaces
    return [one.name for one in interfaces if one.up and one.name.startswith("xe-")]


async def test_a_machine_is_heard_while_it_has_power_and_its_port_is_up_while_it_has_a_cable() -> None:
    async with Rack(RackSettings(machines=3, leaves=2)) as rack:
        assert up(rack) == ["xe-0/0/0", "xe-0/0/1"]  # the second machine is on the other leaf
        assert heard(rack) == []
        await rack.machines["m0001"].power_on("none")
        neighbor = LldpNeighbor("xe-0/0/0", mac_of(1), mac_of(1))
        assert rack.leaves["leaf1"].neighbors == {neighbor}
        assert heard(rack, "leaf2") == []
        await rack.machines["m0001"].power_off()
        assert heard(rack) == []
        assert up(rack) == ["xe-0/0/0", "xe-0/0/1"]


async def test_swapped_cables_are_heard_swapped() -> None:
    async with Rack(RackSettings(machines=3, leaves=2)) as rack:
        for machine in rack.machines.values():
            await machine.power_on("none")
        rack.swap("m0001", "m0003")
        assert heard(rack) == [("xe-0/0/0", mac_of(3)), ("xe-0/0/1", mac_of(1))]
        rack.swap("m0001", "m0002")
        assert heard(rack) == [("xe-0/0/0", mac_of(3)), ("xe-0/0/1", mac_of(2))]
        assert heard(rack, "leaf2") == [("xe-0/0/0", mac_of(1))]
        wanted = {machine["name"]: (machine["leaf"], machine["port"]) for machine in rack.inventory()["machines"]}
        assert wanted["m0001"] == ("leaf1", "xe-0/0/0")  # as it was written down
