"""The part of the inventory that takes time, told in the background: tables, devices that are asked, neighbours."""

from __future__ import annotations

import threading

from images.agent import inventory
from images.agent.errors import HelloRefused, SessionEnded, WorkDropped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from images.agent.session import Session

_LLDP_WAIT_S = 65  # two rounds of what most switches send every 30 s


def start(service: Session) -> None:
    """Find out and tell, in a thread of its own: neither the wait for work nor work waits for it."""
    threading.Thread(target=_tell, args=(service,), name="details", daemon=True).start()


def _tell(service: Session) -> None:
    try:
        found = inventory.details()
        service.inventory(found)
        from images.agent import lldp

        macs = {nic["name"]: nic["mac"] for nic in found["nics"]}
        heard = lldp.listen(sorted(macs), _LLDP_WAIT_S)
        # The cards were switched on for it: only now is it known which have a link, and how fast it is.
        found = inventory.details() | {"lldp": [{"nic": nic, "mac": macs[nic], **heard[nic]} for nic in sorted(heard)]}
        service.inventory(found)
    except (SessionEnded, HelloRefused, WorkDropped):
        return
    except Exception:
        import traceback

        traceback.print_exc()
