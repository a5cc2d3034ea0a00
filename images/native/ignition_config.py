"""Ignition's configuration, specification 3.3.0, which Fedora CoreOS and Flatcar both take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from images.agent.file import File
from images.native.contract import CannotExpress
from images.native.finish import encoded

VERSION = "3.3.0"
_TAKEN = ("3.0.0", "3.1.0", "3.2.0", "3.3.0")


def data_url(text: str) -> str:
    """Text as a URL (RFC 2397), so that nothing in it is read by Ignition."""
    return f"data:;base64,{encoded(text)}"


def storage_file(file: File) -> dict[str, object]:
    """An entry of storage.files."""
    entry: dict[str, object] = {"path": file.path, "mode": file.mode, "overwrite": True}
    entry["contents"] = {"source": data_url(file.text)}
    if file.owner:
        entry |= {"user": {"name": file.owner}, "group": {"name": file.owner}}
    return entry


def merged(userdata: str, name: str) -> dict[str, object]:
    """The customer's own configuration, merged over ours; nothing where there is none.

    Raises CannotExpress for what is no Ignition of these versions.
    """
    if not userdata.strip():
        return {}
    allowed = f"allowed for {name} is Ignition of version {', '.join(_TAKEN)}"
    if userdata.lstrip().startswith("#"):
        raise CannotExpress(f"userdata: {userdata.lstrip().splitlines()[0][:40]!r} is no Ignition; {allowed}")
    try:
        config = json.loads(userdata)
    except ValueError as err:
        raise CannotExpress(f"userdata: no JSON ({err}); {allowed}") from None
    except RecursionError:
        raise CannotExpress(f"userdata: nested too deep; {allowed}") from None
    head = config.get("ignition") if isinstance(config, dict) else None
    version = head.get("version") if isinstance(head, dict) else None
    if version not in _TAKEN:
        raise CannotExpress(f"userdata: ignition.version {version!r}; {allowed}")
    return {"config": {"merge": [{"source": data_url(userdata)}]}}


def config(
    *,
    ignition: Mapping[str, object] | None = None,
    storage: Mapping[str, object] | None = None,
    units: Iterable[Mapping[str, object]] = (),
    passwd: Mapping[str, object] | None = None,
) -> str:
    """A configuration's text."""
    made: dict[str, object] = {"ignition": {"version": VERSION, **(ignition or {})}}
    if storage:
        made["storage"] = storage
    made["systemd"] = {"units": list(units)}
    if passwd:
        made["passwd"] = passwd
    return json.dumps(made, indent=1) + "\n"
