"""A customer's whole life by Apache Libcloud's Equinix Metal driver."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import libcloud.security
from libcloud.common.types import InvalidCredsError
from libcloud.compute.base import Node
from libcloud.compute.drivers import equinixmetal
from libcloud.compute.types import NodeState

from tests.clients.life_packet_python import public_key

PLAN, SYSTEM, METRO = os.environ["PLAN"], "debian_12", "ny"
_LIMIT_S = 90.0

libcloud.security.CA_CERTS_PATH = os.environ["SSL_CERT_FILE"]
equinixmetal.USE_ASYNC_IO_IF_AVAILABLE = False  # it uses asyncio.coroutine, which Python 3.11 has no more


def main() -> None:
    """Live it."""
    try:
        equinixmetal.EquinixMetalNodeDriver("no such token").list_locations()
    except InvalidCredsError as err:
        assert "Invalid authentication token" in str(err)
    else:
        raise AssertionError("a wrong token is let in")
    cloud = equinixmetal.EquinixMetalNodeDriver(os.environ["TOKEN"])
    assert os.environ["PROJECT"] in [project.id for project in cloud.projects]
    project = os.environ["PROJECT"]
    place = next(one for one in cloud.list_locations() if one.extra["code"] == METRO)
    size = next(one for one in cloud.list_sizes(project) if one.id == PLAN)
    image = next(one for one in cloud.list_images() if one.id == SYSTEM)
    assert size.ram > 0 and size.disk > 0 and size.price > 0
    line = public_key("libcloud")
    key = cloud.create_key_pair("life-libcloud", line)
    assert line in [one.public_key for one in cloud.list_key_pairs()]

    node = cloud.create_node("lib1", size, image, place, ex_project_id=project, cloud_init="#cloud-config\n{}\n")

    def seen() -> Node:
        (found,) = [one for one in cloud.list_nodes(project) if one.id == node.id]
        return found

    def until(state: NodeState) -> Node:
        end = time.monotonic() + _LIMIT_S
        while (found := seen()).state != state:
            assert time.monotonic() < end, f"{found.state} does not become {state}"
            time.sleep(0.3)
        return found

    node = until(NodeState.RUNNING)
    assert node.public_ips and node.private_ips
    assert [one.id for one in cloud.list_nodes() if one.id == node.id] == [node.id], "over all projects"
    cloud.ex_update_node(node, hostname="lib2", description="by libcloud")
    assert seen().name == "lib2"
    assert len(cloud.ex_list_ip_assignments_for_node(node)["ip_addresses"]) == 3
    assert cloud.ex_list_events_for_node(node)["events"]
    block = cloud.ex_request_address_reservation(project, METRO, "public_ipv4")
    assignment = cloud.ex_associate_address_with_node(node, f"{block['address']}/32")
    assert assignment["management"] is False
    cloud.ex_disassociate_address(assignment["id"])
    assert cloud.ex_describe_address(block["id"])["assignments"] == []
    cloud.ex_disassociate_address(block["id"])
    assert cloud.ex_get_node_bandwidth(node, int(time.time()) - 3600, int(time.time())) is not None
    _act(lambda: cloud.reboot_node(node))
    _act(lambda: cloud.stop_node(node))
    until(NodeState.STOPPED)
    _act(lambda: cloud.start_node(node))
    until(NodeState.RUNNING)
    cloud.destroy_node(node)
    assert node.id not in [one.id for one in cloud.list_nodes(project)]
    cloud.delete_key_pair(key)
    assert line not in [one.public_key for one in cloud.list_key_pairs()]


def _act(call: Callable[[], object]) -> None:
    """Carry out an action, when the one before has ended. Libcloud's own result says no more than that the answer was
    not 200, and it raises nothing more exact than Exception: a 202 is what the dialect answers."""
    end = time.monotonic() + _LIMIT_S
    while True:
        try:
            call()
        except Exception as err:
            if "before that has ended" not in str(err) or time.monotonic() > end:
                raise
            time.sleep(0.3)
        else:
            return


if __name__ == "__main__":
    main()
