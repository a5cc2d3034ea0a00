"""A customer's whole life by the generated client, whose models refuse what the published document does not have."""

from __future__ import annotations

import os
import time

import equinix_metal as em
from equinix_metal.exceptions import ApiException

from tests.clients.life_packet_python import public_key

PLAN = os.environ["PLAN"]
_LIMIT_S = 90.0


def main() -> None:
    """Live it."""
    configuration = em.Configuration(host="https://api.equinix.com/metal/v1", ssl_ca_cert=os.environ["SSL_CERT_FILE"])
    configuration.api_key["x_auth_token"] = os.environ["TOKEN"]
    with em.ApiClient(configuration) as client:
        _live(client)


def _live(client: em.ApiClient) -> None:
    devices, ips, projects = em.DevicesApi(client), em.IPAddressesApi(client), em.ProjectsApi(client)
    assert em.UsersApi(client).find_current_user().default_organization_id
    assert PLAN in [plan.slug for plan in em.PlansApi(client).find_plans().plans]
    assert em.MetrosApi(client).find_metros().metros and em.FacilitiesApi(client).find_facilities().facilities
    assert em.OperatingSystemsApi(client).find_operating_systems().operating_systems
    assert em.CapacityApi(client).find_capacity_for_metro().capacity is not None
    wish = em.ProjectCreateFromRootInput(name="life by equinix-metal")
    project = projects.create_project(project_create_from_root_input=wish)
    key = em.SSHKeysApi(client).create_project_ssh_key(
        project.id, ssh_key_create_input=em.SSHKeyCreateInput(label="strict", key=public_key("strict"))
    )
    order = em.DeviceCreateInMetroInput(
        metro="ny", plan=PLAN, operating_system="ubuntu_22_04", hostname="strict1", tags=["strict"], customdata={"a": 1}
    )
    device = devices.create_device(project.id, create_device_request=em.CreateDeviceRequest(order))
    end = time.monotonic() + _LIMIT_S
    while (device := devices.find_device_by_id(device.id)).state != "active":
        assert time.monotonic() < end, device.state
        time.sleep(0.3)
    assert len(device.ip_addresses) == 3 and device.customdata == {"a": 1}
    assert devices.find_project_devices(project.id).devices[0].hostname == "strict1"
    changed = devices.update_device(device.id, device_update_input=em.DeviceUpdateInput(hostname="strict2"))
    assert changed.hostname == "strict2"
    assert em.EventsApi(client).find_device_events(device.id).events
    request = em.IPReservationRequestInput(type="public_ipv4", quantity=1, metro="ny")
    block = ips.request_ip_reservation(
        project.id, request_ip_reservation_request=em.RequestIPReservationRequest(request)
    ).actual_instance
    part = ips.find_ip_address_by_id(block.id).actual_instance
    assert isinstance(part, em.IPReservation) and part.address == block.address
    given = devices.create_ip_assignment(
        device.id, ip_assignment_input=em.IPAssignmentInput(address=f"{block.address}/32")
    )
    assert isinstance(ips.find_ip_address_by_id(given.id).actual_instance, em.IPAssignment)
    ips.delete_ip_address(given.id)
    ips.delete_ip_address(block.id)
    devices.perform_action(device.id, device_action_input=em.DeviceActionInput(type="reboot"))
    devices.delete_device(device.id)
    try:
        devices.find_device_by_id(device.id)
    except ApiException as err:
        assert err.status == 404, err
    else:
        raise AssertionError("a deleted device is still there")
    em.SSHKeysApi(client).delete_ssh_key(key.id)
    projects.delete_project(project.id)


if __name__ == "__main__":
    main()
