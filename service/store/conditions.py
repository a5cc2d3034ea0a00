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

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str, *arguments: object) -> None:
        """One more; `{0}` and so on stand for its arguments."""
        first = len(self.arguments) + 1
        self.arguments += arguments
        self._texts.append(text.format(*(f"${first + number}" for number in range(len(arguments)))))

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
