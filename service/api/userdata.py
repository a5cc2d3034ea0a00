"""What can be told of user data without running it. Pure."""

from __future__ import annotations

import json
import re

_TAB = re.compile(r"^ *\t", re.MULTILINE)
_KEY = re.compile(r"""^(?:[A-Za-z0-9_.-]+|"[^"\n]*"|'[^'\n]*')\s*:(?:\s|$)""")
_ENDS = ("#", "-", "}", "]", "---", "...", " ")


def faults_in(text: str) -> list[str]:
    """What is wrong with it; nothing for what no installed system would try to read."""
    if text.startswith("{"):
        return _json_faults(text)
    if text.startswith("#!"):
        first = text.split("\n", 1)[0][2:].strip()
        return [] if first else ["the first line names no interpreter after #!"]
    if re.match(r"#cloud-config\s*(\n|$)", text):
        return _cloud_config_faults(text)
    return []


def _json_faults(text: str) -> list[str]:
    """JSON is Ignition's (its specification: `ignition.version` is needed) or nobody's."""
    try:
        found = json.loads(text)
    except ValueError as err:
        return [f"it begins as JSON and is none: {err}"]
    if not isinstance(found, dict):
        return ["a JSON object is allowed"]
    if "ignition" in found:
        version = found["ignition"].get("version") if isinstance(found["ignition"], dict) else None
        if not (isinstance(version, str) and re.fullmatch(r"\d+\.\d+\.\d+(-\w+)?", version)):
            return [f"ignition.version {version!r} is no version like 3.4.0"]
    return []


def _cloud_config_faults(text: str) -> list[str]:
    """cloud-config is YAML with an object at the top; what is indented by tabs is none (YAML 1.2.2, section 6.1)."""
    faults = [f"line {text.count(chr(10), 0, tab.start()) + 1} is indented by a tab" for tab in _TAB.finditer(text)]
    body = text.split("\n", 1)[1] if "\n" in text else ""
    if body.strip().startswith("{"):
        return faults + _json_faults(body.strip())
    if re.search(r"[\[{,'\"]\s*$", text, re.MULTILINE):
        return faults[:10]  # what goes on over lines may stand at the margin
    tops = [(number, line) for number, line in enumerate(text.split("\n")[1:], 2) if line.strip()]
    for number, line in tops:
        if not line.startswith(_ENDS) and not line.startswith("\t") and not _KEY.match(line):
            faults.append(f"line {number} stands at the margin and is no `name: value`")
            break
    return faults[:10]
