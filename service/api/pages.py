"""Pages of a list and their `meta`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from service.api.call import Body, Call
from service.api.problems import Invalid, shown

_LARGEST = 1000  # what libcloud asks for; more is cut, not refused
_LAST_PAGE = 10**9


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """How many items lie before the page."""
        return (self.number - 1) * self.size


def page_of(call: Call, size: int = 10) -> Page:
    """The page that a call asks for. Raises Refused (422) for what is no number."""
    return Page(_number(call, "page", 1, _LAST_PAGE), _number(call, "per_page", size, _LARGEST))


def _number(call: Call, name: str, default: int, largest: int) -> int:
    if (value := call.word(name)) is None:
        return default
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise Invalid(f"{name} is not valid: {shown(value)} is no whole number")
    return 1 if value.startswith("-") else min(max(int(digits[:20]), 1), largest)


def meta(call: Call, page: Page, total: int) -> Body:
    """The `meta` of a page. Its links keep the call's other parameters, for clients that follow them."""
    last = max(1, -(-total // page.size))
    kept = [(name, value) for name, values in call.query.items() if name != "page" for value in values]

    def link(number: int) -> dict[str, str]:
        return {"href": f"{call.links.prefix}{call.path}?{urlencode([('page', number), *kept])}"}

    return {
        "first": link(1),
        "previous": link(page.number - 1) if 1 < page.number <= last + 1 else None,
        "self": link(page.number),
        "next": link(page.number + 1) if page.number < last else None,
        "last": link(last),
        "current_page": page.number,
        "last_page": last,
        "total": total,
    }
