"""What requests may say. Unknown keys are ignored and empty values mean the default: clients send both.

Field names are the dialect's; messages name the field, the value and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from service.api.numbers import no_truth
from service.api.problems import Invalid, reasons, shown
from service.api.storable import parse, why_unstorable
from service.api.storage import Storage
from service.ssh_keys import BadKey, parse_public_key

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_FIRST_YEAR, _LAST_YEAR = 1970, 9000  # what any time zone can still tell
_NAME_LENGTH = 253  # RFC 1035 §2.3.4, less the length bytes at both ends


def _hostname(value: str) -> str:
    if len(value) > _NAME_LENGTH or not all(_LABEL.fullmatch(label) for label in value.split(".")):
        raise ValueError(
            f"{shown(value)} must be labels of letters, digits and inner hyphens, 63 characters at most, joined by dots"
        )
    return value


def _list_of_text(value: object) -> object:
    """packet-python sends `{}` for no tags, packngo null, others one string."""
    if value in (None, "", {}):
        return []
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def _object(value: object) -> object:
    """An object, also as JSON text; empty text is the empty object."""
    if value in (None, "", []):
        return {}
    if isinstance(value, str):
        try:
            found = parse(value)
        except ValueError:
            raise ValueError(f"{shown(value)} must be an object, or an object as JSON text") from None
        if why := why_unstorable(found):
            raise ValueError(f"{shown(value)}: {why}")
        return found
    return value


def _empty_is_none(value: object) -> object:
    return None if value in ("", [], {}) else value


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?|tftp://[^\s/]+/\S*", value):
        raise ValueError(f"{shown(value)} must be an http, https or tftp address")
    return value


def _key(value: str) -> str:
    try:
        parse_public_key(value)
    except BadKey as err:
        raise ValueError(f"{shown(value)} is no OpenSSH public key: {err}") from None
    return value


def _number_or_moment(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    if isinstance(value, bool):
        raise ValueError(f"{shown(value)} is neither a number of seconds nor a time")
    return float(value) if isinstance(value, int) else value


def _moment(value: datetime) -> datetime:
    """Without an offset it is UTC."""
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise ValueError(f"{shown(value.isoformat())} is not in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _no_price(value: object) -> object:
    """packet-python sends -1 for no bid, and packngo the price as text."""
    return None if value in ("", [], {}, -1, "-1", 0, "0") else value


@dataclass(frozen=True, eq=False)  # typing hashes what annotates a type
class Also:
    """Says in a type's JSON Schema what else a validator that comes before the type's own takes."""

    schemas: tuple[dict[str, Any], ...]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        own = handler(core)
        return {"anyOf": [*(own["anyOf"] if set(own) == {"anyOf"} else [own]), *self.schemas]}


def _empty(*values: object) -> dict[str, Any]:
    return {"enum": list(values)}


_WORDS = Also(({"type": "string", "description": "With commas."}, _empty(None, {})))
Text = Annotated[str, StringConstraints(max_length=1000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)]
Hostname = Annotated[str, AfterValidator(_hostname)]
Tags = Annotated[
    list[Annotated[str, StringConstraints(max_length=255)]],
    BeforeValidator(_list_of_text),
    Field(max_length=200),
    _WORDS,
]
Words = Annotated[list[str], BeforeValidator(_list_of_text), _WORDS]
Ids = Annotated[list[UUID], BeforeValidator(_list_of_text), _WORDS]
Custom = Annotated[
    dict[str, Any],
    BeforeValidator(_object),
    Also(({"type": "string", "description": "The object as JSON."}, _empty(None, []))),
]
Key = Annotated[str, AfterValidator(_key)]
Url = Annotated[str, AfterValidator(_url)]
Moment = Annotated[datetime, AfterValidator(_moment)]
Price = Annotated[Decimal, Field(gt=0, lt=1_000_000, max_digits=10, decimal_places=4)]  # an hour
Billing = Literal["hourly", "daily", "monthly", "yearly"]

# Seconds from now, or a time; a number in a query is text.
Deadline = Annotated[float | Moment, BeforeValidator(_number_or_moment)]

T = TypeVar("T")
Maybe = Annotated[T | None, BeforeValidator(_empty_is_none), Also((_empty("", [], {}),))]


def _taken(annotation: Any) -> set[Any]:
    """The types that a value may be of, out of unions and annotations."""
    if get_origin(annotation) is Annotated:
        return _taken(get_args(annotation)[0])
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        return set[Any]().union(*(_taken(one) for one in get_args(annotation)))
    return {get_origin(annotation) or annotation}


class Request(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and info.field_name is not None:
            taken = _taken(cls.model_fields[info.field_name].annotation)
            if taken & {int, float, Decimal} and bool not in taken:
                return no_truth(value)
        return value


class Strict(Request):
    """A body that no client of the dialect sends: a key that is not known is a mistake, and refused."""

    model_config = ConfigDict(extra="forbid")


class InlineKey(Request):
    """A key that is given with the order instead of by its id."""

    label: Maybe[Name] = None
    key: Key


class AddressWish(Request):
    """One of the addresses that a device shall have."""

    address_family: Literal[4, 6]
    public: bool = True
    cidr: Maybe[int] = None
    ip_reservations: Ids = []


class CreateDevice(Request):
    """A device order."""

    model_config = ConfigDict(json_schema_extra={"required": ["plan", "operating_system"]})

    hostname: Maybe[Hostname] = None
    plan: Maybe[Text] = None
    operating_system: Maybe[Text] = None
    facility: Words = []
    metro: Maybe[Text] = None
    billing_cycle: Maybe[Billing] = None
    userdata: Maybe[str] = None
    tags: Tags = []
    description: Maybe[Text] = None
    locked: Maybe[bool] = None
    always_pxe: Maybe[bool] = None
    ipxe_script_url: Maybe[Url] = None
    customdata: Custom = {}
    user_ssh_keys: Ids = []
    project_ssh_keys: Ids = []
    ssh_keys: Maybe[list[InlineKey]] = None
    no_ssh_keys: Maybe[bool] = None
    ip_addresses: Maybe[list[AddressWish]] = None
    public_ipv4_subnet_size: Maybe[int] = None
    private_ipv4_subnet_size: Maybe[int] = None
    hardware_reservation_id: Maybe[Text] = None
    spot_instance: Maybe[bool] = None
    spot_price_max: Annotated[Price | None, BeforeValidator(_no_price)] = None
    termination_time: Maybe[Moment] = None
    deadline: Maybe[Deadline] = None
    engine: Maybe[Text] = None
    storage: Maybe[Storage] = None


class ChangeDevice(Request):
    """What can be changed of a device while it lives; only what is sent is changed."""

    hostname: Maybe[Hostname] = None
    description: Text | None = None
    tags: Tags | None = None
    userdata: str | None = None
    locked: Maybe[bool] = None
    always_pxe: Maybe[bool] = None
    allow_pxe: Maybe[bool] = None
    ipxe_script_url: Maybe[Url] = None
    billing_cycle: Maybe[Billing] = None
    customdata: Custom | None = None
    network_frozen: Maybe[bool] = None
    spot_instance: Maybe[bool] = None
    termination_time: Maybe[Moment] = None


class Action(Request):
    """Something to be done to a device."""

    type: str
    operating_system: Maybe[Text] = None
    ipxe_script_url: Maybe[Url] = None
    userdata: str | None = None
    engine: Maybe[Text] = None
    storage: Maybe[Storage] = None
    preserve_data: Maybe[bool] = None


class CreateProject(Request):
    """A new project."""

    name: Name
    organization_id: Maybe[UUID] = None
    customdata: Custom = {}
    tags: Tags = []


class ChangeProject(Request):
    """What can be changed of a project."""

    name: Maybe[Name] = None
    customdata: Custom | None = None
    tags: Tags | None = None
    backend_transfer_enabled: Maybe[bool] = None


class CreateSshKey(Request):
    """A new SSH key."""

    label: Name
    key: Key
    tags: Tags = []


class ChangeSshKey(Request):
    """What can be changed of an SSH key."""

    label: Maybe[Name] = None
    key: Maybe[Key] = None
    tags: Tags | None = None


class CapacityWish(Request):
    """So many machines of a plan at a place."""

    plan: Text
    facility: Maybe[Text] = None
    metro: Maybe[Text] = None
    quantity: Annotated[int, Field(ge=1, le=10_000)] = 1


class CapacityQuestion(Request):
    """Would all of these be there?"""

    servers: Annotated[list[CapacityWish], Field(max_length=100)]


M = TypeVar("M", bound=Request)


def read(model: type[M], body: Mapping[str, Any]) -> M:
    """The body as a model. Raises Invalid with one message for each field that is not allowed."""
    try:
        return model.model_validate(body)
    except ValidationError as err:
        raise Invalid(*reasons(err)) from None
