"""Erase certificates: what the agent's evidence says, bound to machine and run, and sealed with the service's key."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID


def signature_of(key: bytes, machine_id: UUID, run_id: UUID, evidence: Mapping[str, Any]) -> bytes:
    """The HMAC-SHA256 (RFC 2104) that a certificate carries; evidence is signed by its values, not by its text."""
    text = json.dumps({"machine": str(machine_id), "run": str(run_id), "evidence": evidence}, sort_keys=True)
    return hmac.digest(key, text.encode(), hashlib.sha256)
