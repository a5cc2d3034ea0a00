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

from service.secrets import Key, KeyRing
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


def signed_by(
    ring: KeyRing, machine_id: UUID, run_id: UUID, evidence: Mapping[str, Any], signature: bytes
) -> Key | None:
    """The key that the signature is of; None when it is of none of them, or the evidence is another."""
    for key in ring.keys:
        if hmac.compare_digest(signature_of(key.secret, machine_id, run_id, evidence), signature):
            return key
    return None


async def certificates_of(db: Connection | Pool, key: KeyRing, machine_id: UUID, most: int = 100) -> list[Certificate]:
    """A machine's certificates, newest first."""
    found = []
    for row in await db.fetch(Q["certificates_of_machine"], machine_id, most):
        valid = signed_by(key, machine_id, row["run_id"], row["evidence"], row["signature"]) is not None
        found.append(
            Certificate(
                row["id"], row["run_id"], row["created_at"], row["evidence"]["disks"], row["signature"], valid=valid
            )
        )
    return found
