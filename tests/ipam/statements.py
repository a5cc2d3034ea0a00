"""A connection to which something may happen before any of its statements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Watched(ABC):
    """Counts the statements of a connection, and lets a test in before each."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self.statements = 0

    @abstractmethod
    async def before(self) -> None:
        """What happens before the next statement; `statements` have been."""

    async def statement(self) -> None:
        """Another statement begins."""
        await self.before()
        self.statements += 1

    async def execute(self, *args: Any) -> Any:
        await self.statement()
        return await self._conn.execute(*args)

    async def fetch(self, *args: Any) -> Any:
        await self.statement()
        return await self._conn.fetch(*args)

    async def fetchrow(self, *args: Any) -> Any:
        await self.statement()
        return await self._conn.fetchrow(*args)

    async def fetchval(self, *args: Any) -> Any:
        await self.statement()
        return await self._conn.fetchval(*args)
