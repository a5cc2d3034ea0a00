"""Erase certificates: what the agent's evidence says, bound to machine and run, and sealed with the service's key."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.store.rows import Connection, Pool
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class Certificate:
    """One erase of a machine's disks; `disks` as `images.protocol.DiskErasure`, `valid`: still as it was signed."""

    id: UUID
    run_id: UUID
    created_at: datetime
    disks: list[dict[str, Any]]
    signature: bytes
    valid: bool


def signature_of(key: bytes, machine_id: UUID, run_id: UUID, evidence: Mapping[str, Any]) -> bytes:
    """The HMAC-SHA256 (RFC 2104) that a certificate carries; evidence is signed by its values, not by its text."""
    text = json.dumps({"machine": str(machine_id), "run": str(run_id), "evidence": evidence}, sort_keys=True)
    return hmac.digest(key, text.encode(), hashlib.sha256)


async def certificates_of(db: Connection | Pool, key: bytes, machine_id: UUID, most: int = 100) -> list[Certificate]:
    """A machine's certificates, newest first."""
    found = []
    for row in await db.fetch(Q["certificates_of_machine"], machine_id, most):
        valid = hmac.compare_digest(signature_of(key, machine_id, row["run_id"], row["evidence"]), row["signature"])
        found.append(
            Certificate(
                row["id"], row["run_id"], row["created_at"], row["evidence"]["disks"], row["signature"], valid=valid
            )
        )
    return found
