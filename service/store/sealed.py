"""Every value of the database that is sealed, from one table: counted by key, and sealed again with another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import structlog

from service.certificates import signature_of, signed_by
from service.secrets import KeyRing, SecretUnreadable, open_sealed, seal, sealed_by
from service.store.rows import Connection, Pool

log = structlog.get_logger()

_BATCH = 500  # values that are sealed again in one transaction


@dataclass(frozen=True, slots=True)
class Place:
    """Where sealed values are: a column, or a word inside of one."""

    table: str
    column: str
    value: str = ""  # SQL of the sealed bytes; empty: the column
    change: str = ""  # SQL that puts {new} in the value's place; empty: the column is set to it

    @property
    def name(self) -> str:
        """As operators read it."""
        return f"{self.table}.{self.column}"


SEALED = (
    Place("machine", "bmc_secret"),
    Place("bmc_password", "secret"),
    Place("leaf", "secret"),
    Place("leaf", "private_key"),
    Place("leaf", "running"),
    Place("leaf_exemption", "accepted"),
    Place("device", "root_password"),
    Place("device", "storage_passphrase"),
    Place("bgp_config", "md5"),
    Place("hook", "secret"),
    Place("hook", "old_secret"),
    Place("facility_secret", "secret"),
    Place("facility_secret", "old_secret"),
    Place("bmc_access", "secret"),
    Place("service_secret", "sealed"),
    Place(
        "agent_work",
        "spec",
        "decode(spec #>> '{{storage,passphrase}}', 'hex')",
        "spec = jsonb_set(spec, '{{storage,passphrase}}', to_jsonb(encode({new}, 'hex')))",
    ),
)


@dataclass(slots=True)
class Found:
    """What a place holds."""

    values: int = 0
    unreadable: int = 0
    by_key: Counter[str] = field(default_factory=Counter)  # by a key's id, in hexadecimal; "": none of ours


async def counted(db: Pool, ring: KeyRing) -> dict[str, Found]:
    """The sealed values of each place, every one of which is tried."""
    names = {sealed_by(key): key.id.hex() for key in ring.keys}
    found = {}
    async with db.acquire() as conn, conn.transaction(readonly=True):
        for place in SEALED:
            here = found[place.name] = Found()
            async for blob in _values(conn, place, b""):
                here.values += 1
                here.by_key[names.get(blob[:5], "")] += 1
                here.unreadable += _text(ring, blob) is None
    return found


async def seal_again(db: Pool, ring: KeyRing) -> int:
    """Seal and sign with the first key what is sealed or signed with another one; how many such values were there.

    A value that changes meanwhile is left to the next time, and one that cannot be opened for good.
    """
    prefix, done = sealed_by(ring.first), 0
    for place in SEALED:
        async with db.acquire() as reading, reading.transaction():
            batch: list[tuple[bytes, bytes]] = []
            async for blob in _values(reading, place, prefix):
                if (text := _text(ring, blob)) is not None:
                    batch.append((blob, seal(ring, text)))
                if len(batch) == _BATCH:
                    await _exchange(db, place, batch)
                    done, batch = done + len(batch), []
            await _exchange(db, place, batch)
            done += len(batch)
    return done + await _sign_again(db, ring)


def _text(ring: KeyRing, blob: bytes) -> str | None:
    try:
        return open_sealed(ring, blob)
    except SecretUnreadable:
        return None


async def _values(conn: Connection, place: Place, but: bytes) -> AsyncIterator[bytes]:
    """The sealed values of a place; those that begin with `but` are left out where it is not empty."""
    value = place.value.format() or place.column
    # The names are of the table above, never of a request.
    query = (
        f"SELECT value FROM (SELECT {value} AS value FROM {place.table}) AS found"
        " WHERE length(value) > 0 AND (length($1::bytea) = 0 OR substr(value, 1, length($1)) <> $1)"
    )
    async for row in conn.cursor(query, but, prefetch=_BATCH):
        yield row["value"]


async def _exchange(db: Pool, place: Place, batch: Sequence[tuple[bytes, bytes]]) -> None:
    value = place.value.format() or place.column
    change = place.change.format(new="made.new") or f"{place.column} = made.new"
    query = (
        f"UPDATE {place.table} SET {change} FROM unnest($1::bytea[], $2::bytea[]) AS made (old, new)"
        f" WHERE {value} = made.old"
    )
    await db.execute(query, [old for old, _ in batch], [new for _, new in batch])


async def _sign_again(db: Pool, ring: KeyRing) -> int:
    """Certificates that are as they were signed, by a key that is on its way out."""
    done, first = 0, ring.first
    async with db.acquire() as conn, conn.transaction():
        async for row in conn.cursor("SELECT id, machine_id, run_id, evidence, signature FROM erase_certificate"):
            about = row["machine_id"], row["run_id"], row["evidence"]
            key = signed_by(ring, *about, row["signature"])
            if key is None or key.id == first.id:
                continue
            signature = signature_of(first.secret, *about)
            await db.execute("UPDATE erase_certificate SET signature = $2 WHERE id = $1", row["id"], signature)
            done += 1
    return done
