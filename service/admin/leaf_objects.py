"""Plans, drift, exemptions and neighbours of a leaf as the API shows them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from lxml import etree

from netconf.drift import DriftedObject
from netconf.owned import edit, relevant
from netconf.references import Key
from netconf.tree import Element
from service.api.call import Body
from service.api.links import stamp
from service.leaves.cabling import Finding, Plug
from service.leaves.drifted import object_name
from service.leaves.plans import PLAN_LIFE, Progress
from service.store.leaf_plans import LeafPlan
from service.store.leaves import Accepted

_SECRET = ("authentication-key", "encrypted-password")


def plan_object(plan: LeafPlan, progress: Progress) -> Body:
    """A plan with its blast radius."""
    ports, read_at = plan.touched["ports"], plan.touched["read_at"]
    return {
        "id": str(plan.id),
        "leaf": plan.leaf,
        "action": plan.action,
        "arguments": plan.arguments,
        "state": progress.state,
        "waits_for": progress.waits_for,
        "difference": plan.difference,
        "notes": plan.touched["notes"],
        "ports": ports,
        "machines": names(one["machine"] for one in ports),
        "devices": names((one["device"] or {}).get("name") for one in ports),
        "customers": customers(ports),
        "read_at": None if read_at is None else stamp(datetime.fromisoformat(read_at)),
        "planned_by": plan.planner or plan.planned_by,
        "planned_at": stamp(plan.planned_at),
        "expires_at": stamp(plan.planned_at + PLAN_LIFE),
        "applied_by": plan.applier or plan.applied_by,
        "applied_at": None if plan.applied_at is None else stamp(plan.applied_at),
        "href": f"/admin/v1/leaf-plans/{plan.id}",
    }


def names(given: Iterable[str | None]) -> list[str]:
    """Each once, in order."""
    return sorted({one for one in given if one is not None})


def customers(ports: Iterable[dict[str, Any]]) -> list[Body]:
    """The organizations that ports carry devices of, with the projects."""
    found: dict[str, Body] = {}
    for one in ports:
        if (whose := one["organization"]) is not None:
            entry = found.setdefault(whose["id"], {**whose, "projects": []})
            if one["project"] not in entry["projects"]:
                entry["projects"].append(one["project"])
    return sorted(found.values(), key=lambda entry: str(entry["name"]))


def drifted_object(one: DriftedObject) -> Body:
    """An object that runs otherwise than it should."""
    return {"object": object_name(one.key), "ports": list(one.ports), "difference": one.text}


def exemption_object(one: Accepted, by: str, *, lapsed: bool) -> Body:
    """An object that is accepted as it runs."""
    return {
        "object": object_name(one.object),
        "difference": one.difference,
        "accepted_by": by,
        "accepted_at": stamp(one.accepted_at),
        "lapsed": lapsed,
    }


def neighbor_object(plug: Plug, finding: Finding | None) -> Body:
    """A port, who is recorded and who is seen at the other end of its cable."""
    return {
        "port": plug.port,
        "machine": plug.machine,
        "mac": plug.mac,
        "seen_mac": plug.seen_mac,
        "seen_name": plug.seen_name,
        "seen_at": None if plug.seen_at is None else stamp(plug.seen_at),
        "as_recorded": finding is None and plug.mac == plug.seen_mac,
        "swapped": finding is not None and finding.swapped,
        "verdict": verdict(plug, finding),
    }


def document(objects: Mapping[Key, Element]) -> str:
    """Objects of ours as one XML document, with what is secret left out."""
    whole = edit(objects, {})
    made = relevant(etree.Element("configuration") if whole is None else whole, ())
    for tag in _SECRET:
        for one in made.iter(tag):
            one.text = "## SECRET-DATA"
    etree.indent(made)
    return etree.tostring(made, encoding="unicode") + "\n"


def verdict(plug: Plug, finding: Finding | None) -> str:
    """What the cable's other end tells, as a sentence."""
    if finding is not None:
        return finding.sentence
    if plug.seen_mac is not None:
        return f"{plug.machine} is seen, as recorded"
    if plug.seen_name is not None:
        return f"{plug.seen_name} is seen, which tells no MAC address"
    return "nobody is recorded here and nobody is seen" if plug.machine is None else f"{plug.machine} is not seen"


def of_leaf(plugs: Iterable[Plug], leaf: str, found: Collection[Finding]) -> list[Body]:
    """The leaf's ports with their neighbours."""
    by_port = {one.at.port_id: one for one in found}
    return [neighbor_object(plug, by_port.get(plug.port_id)) for plug in plugs if plug.leaf == leaf]
