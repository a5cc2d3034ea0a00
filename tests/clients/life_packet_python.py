"""A customer's whole life by packet-python, from the first look at prices to the last deleted project."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import asyncssh
import packet

PLAN, SYSTEM, FACILITY = os.environ["PLAN"], "ubuntu_20_04", "ewr1"
_LIMIT_S = 90.0


def until(true: Callable[[], bool], what: str) -> None:
    """Poll as these clients do."""
    end = time.monotonic() + _LIMIT_S
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.3)


def public_key(label: str) -> str:
    """A new SSH public key."""
    return asyncssh.generate_private_key("ssh-ed25519", comment=label).export_public_key().decode().strip()


def refused(call: Callable[[], object]) -> str:
    """What the client says of a call that has to fail."""
    try:
        call()
    except packet.ResponseError as err:
        return str(err)
    raise AssertionError("this had to be refused")


def main() -> None:
    """Live it."""
    cloud = packet.Manager(auth_token=os.environ["TOKEN"])
    assert cloud.get_user()["default_organization_id"]
    assert PLAN in [plan.slug for plan in cloud.list_plans()]
    assert SYSTEM in [system.slug for system in cloud.list_operating_systems()]
    assert FACILITY in [facility.code for facility in cloud.list_facilities()]
    assert "ny" in [metro.code for metro in cloud.list_metros()]
    assert cloud.get_capacity()[FACILITY][PLAN]["level"] in ("normal", "limited")
    assert cloud.validate_capacity([(FACILITY, PLAN, 1)])
    (organization, *_) = cloud.list_organizations()
    project = cloud.create_organization_project(organization.id, "life by packet-python")
    project.name = "a life by packet-python"
    project.update()
    assert project.id in [one.id for one in cloud.list_projects()]
    key = cloud.create_ssh_key("life-packet-python", public_key("laptop"))
    project_key = cloud.create_project_ssh_key(project.id, "project key", public_key("project"))

    device = cloud.create_device(
        project.id, "web1", PLAN, FACILITY, SYSTEM, tags=["life"], userdata="#!/bin/sh\ntrue\n"
    )
    assert device.state == "queued" and device.network_ports[0]["name"] == "bond0"

    def state() -> str:
        return str(cloud.get_device(device.id).state)

    until(lambda: state() == "active", "the device becomes active")
    device = cloud.get_device(device.id)
    assert {key.id, project_key.id} <= {one["href"].rpartition("/")[2] for one in device.ssh_keys}
    assert {(one["address_family"], one["public"]) for one in device.ip_addresses} == {(4, True), (4, False), (6, True)}
    done = [event.type for event in cloud.list_device_events(device.id, params={"per_page": 100})]
    assert {f"provisioning.{number}" for number in range(101, 111)} <= set(done)
    device.hostname, device.tags = "web2", ["life", "renamed"]
    device.update()
    assert [one.hostname for one in cloud.list_all_devices(project.id)] == ["web2"]

    block = cloud.reserve_ip_address(project.id, "public_ipv4", 2, facility=FACILITY, details="web")
    part = cloud.create_device_ip(device.id, f"{block.network}/32")
    assert part.address in [one.address for one in cloud.list_device_ips(device.id)]
    assert "is assigned to" in refused(lambda: cloud.delete_ip(block.id))
    part.delete()
    cloud.enable_project_bgp_config(project.id, asn=65000, deployment_type="local", md5="Secret0123456")
    session = cloud.create_bgp_session(device.id, "ipv4")
    assert session.id in [one.id for one in cloud.get_bgp_sessions(device.id)]

    for act, goal in ((device.reboot, "active"), (device.power_off, "inactive"), (device.power_on, "active")):
        until(lambda act=act: _taken(act), f"{act.__name__} is taken")  # type: ignore[misc]
        until(lambda goal=goal: state() == goal, f"{act.__name__} leads to {goal}")  # type: ignore[misc]
    until(lambda: _taken(lambda: device.reinstall(operating_system="debian_12")), "reinstall is taken")
    until(lambda: state() != "active", "the reinstall begins")
    until(lambda: state() == "active", "the reinstall ends")
    assert cloud.get_device(device.id).operating_system.slug == "debian_12"

    assert "has devices" in refused(project.delete)
    device.delete()
    assert refused(lambda: cloud.get_device(device.id)) == "Error 404: Not found"
    cloud.delete_ip(block.id)
    key.delete()
    project_key.delete()
    project.delete()
    assert project.id not in [one.id for one in cloud.list_projects()]


def _taken(act: Callable[[], object]) -> bool:
    """Whether an action is taken; one that comes while another is under way is refused with a 422."""
    try:
        act()
    except packet.ResponseError as err:
        if "before that has ended" not in str(err):
            raise
        return False
    return True


if __name__ == "__main__":
    main()
