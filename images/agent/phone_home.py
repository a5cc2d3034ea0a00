"""How a new system tells that it is up: a script that needs nothing but bash, and the unit that runs it."""

from __future__ import annotations

import json
import shlex

from images.agent import wire

# SELinux policies call programs below /opt/*/bin programs, and systems with a read-only /usr can write there.
SCRIPT = "/opt/roundhouse/bin/phone-home"
UNIT_NAME = "roundhouse-phone-home.service"
STAMP = "/var/lib/roundhouse/phoned-home"

UNIT = f"""\
[Unit]
Description=Tell Roundhouse that this machine is up
After=network-online.target ssh.service sshd.service
Wants=network-online.target
ConditionPathExists=!{STAMP}

[Service]
Type=oneshot
ExecStart=/bin/bash {SCRIPT}
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""


def caller(url: str, method: str, kind: str) -> str:
    """A function `call BODY` in bash: true when the server has taken it. Raises ValueError: not an http URL."""
    host, port, target = wire.split(url)
    name = f"[{host}]" if ":" in host else host
    head = [f"{method} {target} HTTP/1.0", f"Host: {name}:{port}", f"Content-Type: {kind}"]
    return f"""\
call() {{
    local LC_ALL=C status
    exec 3<>{shlex.quote(f"/dev/tcp/{host}/{port}")} || return 1
    {{
        printf '%s\\r\\n' {" ".join(map(shlex.quote, head))} "Content-Length: ${{#1}}" ''
        printf '%s' "$1"
    }} >&3
    read -r -t 20 _ status _ <&3
    exec 3>&-
    [[ $status == 2* ]]
}}
"""


def script(url: str, instance_id: str) -> str:
    """A script that PUTs the instance id until it is heard. Raises ValueError: not an http URL."""
    body = shlex.quote(json.dumps({"instance_id": instance_id}))
    return f"""\
#!/bin/bash
# Written at installation; runs until Roundhouse has answered once.
{caller(url, "PUT", "application/json")}\
until (call {body}) 2>/dev/null; do sleep 1; done
mkdir -p {STAMP.rpartition("/")[0]} && touch {STAMP}
"""
