"""What every player has: a clock, choices, a picture of the world, and a journal of what it did."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeAlias, TypeVar
from uuid import UUID

from ipam.committer import Committer
from ipam.errors import IpamError
from ipam.space import Network
from service.store.rows import Pool
from tests.ipam.model import Row, Violation, World

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
COOL_DOWN = timedelta(minutes=10)

T = TypeVar("T")
Errors: TypeAlias = Collection[type[IpamError]]


class Chooser(Protocol):
    """Where the choices come from: a random generator, or hypothesis."""

    def below(self, end: int) -> int:
        """A number from 0 to `end` - 1."""


class Player:
    """One who allocates, gives back and manages in VRFs of his own."""

    def __init__(self, db: Pool, world: World, chooser: Chooser, *, owners: int = 12) -> None:
        self.db, self.world, self._chooser = db, world, chooser
        self._clock = START
        self._now = START
        self._committer = Committer(db, self)
        self._devices = [self._uuid() for _ in range(owners)]
        self._projects = [self._uuid() for _ in range(max(2, owners // 4))]
        self._ranges = [self._uuid() for _ in range(max(2, owners // 4))]
        self.journal: deque[str] = deque(maxlen=30)
        self.operations = 0
        self.outcomes: Counter[str] = Counter()  # by act: how it ended
        self.acting = ""
        self._told = ""

    def now(self) -> datetime:
        """The time by the clock of whoever asks in this step."""
        return self._now

    # What is drawn

    def below(self, end: int) -> int:
        return self._chooser.below(end)

    def pick(self, things: Sequence[T]) -> T:
        return things[self.below(len(things))]

    def one_in(self, many: int) -> bool:
        return self.below(many) == many - 1

    def _uuid(self) -> UUID:
        return UUID(int=self.below(1 << 64) << 64 | self.below(1 << 64), version=4)

    def _by(self) -> str:
        return f"user:{self.below(3)}"

    def _row(self) -> Row | None:
        """A tenure, mostly one that lasts."""
        bag = self.pick([self.world.held, self.world.routes])
        if not self.one_in(12) and len(bag):
            return bag[self.below(len(bag))]
        rows = self.world.rows[-200:]
        return self.pick(rows) if rows else None

    def _reservation(self) -> Row | None:
        """A reservation, mostly one that lasts; sometimes it is none."""
        if self.one_in(15) or not len(self.world.reservations):
            return self._row()
        return self.world.reservations[self.below(len(self.world.reservations))]

    def _route(self) -> Row | None:
        if self.one_in(15) or not len(self.world.routes):
            return self._row()
        return self.world.routes[self.below(len(self.world.routes))]

    def _block_in(self, whole: Network, longest: int) -> Network:
        length = whole.prefixlen + self.below(longest - whole.prefixlen + 1)
        number = self.below(1 << (length - whole.prefixlen))
        address = int(whole.network_address) + (number << (whole.max_prefixlen - length))
        return type(whole)((address, length))

    def tick(self) -> None:
        """A little time passes; now and then somebody asks whose clock is behind."""
        self._clock += timedelta(milliseconds=1 + self.below(2000))
        self._now = self._clock - (timedelta(milliseconds=self.below(2000)) if self.one_in(10) else timedelta(0))

    def time_passes(self) -> None:
        """Enough for some blocks to have cooled down."""
        self._clock += timedelta(seconds=1 + self.below(900))

    # What is done

    def tell(self, what: str) -> None:
        self._told = f"{self._now:%d %H:%M:%S.%f} {what}"
        self.journal.append(self._told)

    def require(self, holds: bool, what: str, *values: object) -> None:
        """What must hold; `what` with the values in its braces says what does not, and is made only then."""
        if not holds:
            raise Violation(f"{what.format(*values)}\n  in: {self._told}")

    def ended(self, how: str, times: int = 1) -> None:
        self.outcomes[f"{self.acting} {how}"] += times

    async def attempt(self, wrong: Errors, act: Callable[[Any], Awaitable[T]], *, may: Errors = ()) -> T | None:
        """Do it in a transaction: it must fail with one of `wrong`, if there are any; it may fail with one of `may`."""
        try:
            async with self.db.acquire() as conn, conn.transaction():
                done = await act(conn)
        except IpamError as err:
            self.require(type(err) in (wrong or may), "unforeseen {}: {}", type(err).__name__, err)
            self.ended(type(err).__name__)
            return None
        self.require(not wrong, "should have failed with {}, and gave {}", [kind.__name__ for kind in wrong], done)
        self.ended("done")
        return done
