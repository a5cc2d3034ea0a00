"""Who acts: what the API's door knows of a caller, handed to the database so that triggers can write it down.

The caller of a request that changes something is a context variable; a connection that such a request takes from the
pool is told of it, and forgets it when it is taken for somebody else. Other requests and the worker cost nothing more.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sql.loader import Q

_LONGEST_PATH = 500  # characters that are kept


@dataclass(slots=True)
class Acting:
    """One request that changes something, and whose it is."""

    actor: str  # "user:ID", "project:ID", or "nobody" who was refused
    user_id: UUID | None
    token_id: UUID | None
    source: str | None  # the address that the request came from
    method: str
    path: str
    request: UUID
    dry: bool = False  # it shows what it would change, and changes nothing
    over: bool = False  # tasks that outlive the request have its context still, and act for nobody

    @property
    def words(self) -> str:
        """As the triggers read it."""
        told = {
            "actor": self.actor,
            "user": None if self.user_id is None else str(self.user_id),
            "token": None if self.token_id is None else str(self.token_id),
            "source": self.source,
            "method": self.method,
            "path": self.path[:_LONGEST_PATH],
            "request": str(self.request),
        }
        return json.dumps(told)


ACTING: ContextVar[Acting | None] = ContextVar("acting", default=None)


def for_show() -> None:
    """The request under way is a dry run."""
    if acting := ACTING.get():
        acting.dry = True


class Naming:
    """Tells a pool's connections who acts.

    A connection that is handed back goes on naming him until it is taken for somebody else, or for nobody: one request
    often takes the same one many times.
    """

    def __init__(self) -> None:
        self._told: dict[int, Acting] = {}  # by the server process of the connection's session

    def opened(self, conn: Any) -> None:
        """A session begins; one before may have had a server process of the same number."""
        self._told.pop(conn.get_server_pid(), None)

    async def tell(self, conn: Any) -> None:
        """When a connection is taken from the pool."""
        acting, pid = ACTING.get(), conn.get_server_pid()
        if acting is not None and acting.over:
            acting = None
        if self._told.get(pid) is acting:
            return
        if acting is None:
            await conn.execute("RESET roundhouse.actor")
            del self._told[pid]
        else:
            await conn.execute(Q["name_actor"], acting.words)
            self._told[pid] = acting


async def note_request(db: Any, acting: Acting, status: int, *, kind: str, action: str) -> None:
    """Write down that the request was made, as what, and how it was answered."""
    await db.execute(
        Q["note_request"],
        acting.actor,
        acting.user_id,
        acting.token_id,
        acting.source,
        acting.method,
        acting.path[:_LONGEST_PATH],
        acting.request,
        kind,
        action,
        status,
    )
