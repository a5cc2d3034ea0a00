"""What the rows of a list must meet, put together from what was asked for: so each list has the plan that fits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID


class Conditions:
    """Conditions as SQL. Their texts are constants of the program; what callers say is among the arguments."""

    def __init__(self) -> None:
        self.arguments: list[Any] = []
        self._texts: list[str] = []
        self._either: list[str] = []

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str, *arguments: object) -> None:
        """One more; `{0}` and so on stand for its arguments."""
        self._texts.append(self._numbered(text, arguments))

    def either(self, text: str, *arguments: object) -> None:
        """One of several of which a row must meet one; `meet_one` ends them."""
        self._either.append(self._numbered(text, arguments))

    def meet_one(self) -> None:
        """One more: that one of those given to `either` is met."""
        self._texts.append(f"({' OR '.join(self._either)})")
        self._either = []

    def _numbered(self, text: str, arguments: Sequence[object]) -> str:
        first = len(self.arguments) + 1
        self.arguments += arguments
        return text.format(*(f"${first + number}" for number in range(len(arguments))))

    def one_of(self, column: str, ids: Sequence[UUID] | None) -> None:
        """That the column is one of the ids; None is any."""
        if ids is not None and len(ids) == 1:
            self.add(f"{column} = {{0}}", ids[0])  # only so does an index keep its order
        elif ids is not None:
            self.add(f"{column} = ANY({{0}})", ids)

    def after(self, query: str) -> str:
        """The query, which ends in a condition, with these."""
        return " AND ".join([query, *self._texts])

    def page(self, query: str, order: str) -> str:
        """The query of a page; the two arguments that follow are its limit and offset."""
        number = len(self.arguments) + 1
        return f"{self.after(query)} ORDER BY {order} LIMIT ${number} OFFSET ${number + 1}"
