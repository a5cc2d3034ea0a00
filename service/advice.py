"""What to do about a machine that is not in the pool, for whoever finds it there. Pure."""

from __future__ import annotations

# Part of a reason, and what helps; the first that is found counts.
_BY_REASON = (
    (
        ", seen ",
        "Put the cable where it is recorded, or `roundhouse leaf recable` to record where it is; then prepare.",
    ),
    (" was expected, ", "Another machine is at its port: put the cables right, or record them; then prepare."),
    ("LLDP shows", "Put the cable where it is recorded, or record where it is; then prepare."),
    ("did not reach the installer", "See its console and BMC: firmware, boot order, network card; then prepare."),
    ("burn-in:", "Read `roundhouse machine work`: a part is broken. `machine rma`, replace it, `machine give-back`."),
    ("erase is not proved", "A disk could not be shown to be clean: `machine rma`, replace it, `machine give-back`."),
    ("could not erase", "A disk could not be erased: `machine rma`, replace it, `machine give-back`."),
    ("has not yet taken", "Its leaf does not take the port: `roundhouse leaf show`; then prepare."),
    ("Bmc", "Its BMC does not do as it is told: look at its address, password and cable; then prepare."),
)
_BY_STATE = {
    "quarantined": "Read the reason; when it is gone, `roundhouse machine prepare` sends it back to the pool.",
    "maintenance": "`roundhouse machine give-back` sends it to the pool when the work on it is done.",
    "retired": "It is not to come back; `roundhouse machine import` enrols it anew.",
}


def advice(state: str, reason: str | None, leaving: str | None) -> str | None:
    """One sentence; None where nothing is to be done."""
    if state == "quarantined" and reason:
        for part, words in _BY_REASON:
            if part in reason:
                return words
    if leaving is not None:
        return f"It goes to maintenance when its device is gone: {leaving}."
    return _BY_STATE.get(state)
