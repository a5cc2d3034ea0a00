"""Prefixes and tenures as JSON objects, with the names that an operator knows things by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ipam.abuse import AbuseTag
from ipam.ledger import Tenure
from ipam.prefixes import Usage
from service.api.call import Body
from service.store.rows import Connection
from sql.loader import Q


def moment(at: datetime | None) -> str | None:
    """A time of the ledger; None stays None. To the microsecond: what ends and what begins may share a second."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def prefix_object(one: Usage, vrf_names: Mapping[int, str], shown: set[int] | None) -> Body:
    """A prefix with its use; a parent that the caller does not see is none of his business."""
    prefix = one.prefix
    return {
        "id": prefix.id,
        "prefix": str(prefix.cidr),
        "vrf": vrf_names[prefix.vrf_id],
        "parent": prefix.parent_id if shown is None or prefix.parent_id in shown else None,
        "role": prefix.role,
        "facility": prefix.facility,
        "block_length": prefix.block_length,
        "description": prefix.description,
        "status": prefix.status,
        "standing": prefix.standing,
        "organization": None if prefix.organization_id is None else str(prefix.organization_id),
        "project": None if prefix.project_id is None else str(prefix.project_id),
        "tenures": one.tenures,
        "blocks": prefix.blocks,
        "taken": one.taken,
        "utilization": round(one.taken / prefix.blocks, 6),
        "href": f"/ipam/v1/prefixes/{prefix.id}",
    }


@dataclass(frozen=True, slots=True)
class Names:
    """What the ids in some tenures are called."""

    projects: Mapping[UUID, str]
    devices: Mapping[UUID, str]
    actors: Mapping[str, str]


async def names_in(conn: Connection, tenures: Iterable[Tenure]) -> Names:
    """The names of the projects, devices and people in these tenures."""
    found = list(tenures)
    projects = list({one.project_id for one in found if one.project_id is not None})
    owners = list({one.owner for one in found})
    actors = list({actor for one in found for actor in (one.opened_by, one.closed_by) if actor is not None})
    row = await conn.fetchrow(Q["ledger_names"], projects, owners, actors)
    return Names(
        projects={UUID(id_): name for id_, name in row["projects"].items()},
        devices={UUID(id_): name for id_, name in row["devices"].items()},
        actors=row["actors"],
    )


def tenure_object(tenure: Tenure, names: Names) -> Body:
    """A tenure with who, where, from when until when, and who wrote it."""
    project = None
    if tenure.project_id is not None:
        project = {"id": str(tenure.project_id), "name": names.projects.get(tenure.project_id)}
    device = None
    if tenure.owner in names.devices:
        device = {"id": str(tenure.owner), "hostname": tenure.note.get("hostname", names.devices[tenure.owner])}
    return {
        "id": str(tenure.id),
        "block": str(tenure.block),
        "kind": tenure.kind,
        "slot": tenure.slot,
        "prefix": tenure.prefix_id,
        "owner": str(tenure.owner),
        "project": project,
        "device": device,
        "machine": tenure.note.get("machine"),
        "leaf": tenure.note.get("leaf"),
        "port": tenure.note.get("port"),
        "mac": tenure.note.get("mac"),
        "note": dict(tenure.note),
        "from": moment(tenure.since),
        "until": moment(tenure.until),
        "opened_by": _actor(tenure.opened_by, names),
        "closed_by": None if tenure.closed_by is None else _actor(tenure.closed_by, names),
        "within": None if tenure.within is None else str(tenure.within),
    }


def _actor(actor: str, names: Names) -> str:
    name = names.actors.get(actor)
    return actor if name is None else f"{actor} ({name})"


async def tenure_objects(conn: Connection, tenures: Sequence[Tenure]) -> list[Body]:
    """Tenures with the names in them."""
    names = await names_in(conn, tenures)
    return [tenure_object(one, names) for one in tenures]


def tag_object(tag: AbuseTag, vrf_names: Mapping[int, str]) -> Body:
    """An abuse tag."""
    return {
        "id": str(tag.id),
        "vrf": vrf_names[tag.vrf_id],
        "block": str(tag.block),
        "tag": tag.tag,
        "reason": tag.reason,
        "set_by": tag.set_by,
        "set_at": moment(tag.set_at),
        "cleared_by": tag.cleared_by,
        "cleared_at": moment(tag.cleared_at),
    }
