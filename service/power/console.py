"""Where a machine's serial console is: by Redfish (ComputerSystem.SerialConsole, DSP0268), or by IPMI. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SSH = 22


@dataclass(frozen=True, slots=True)
class SshConsole:
    """A console that the BMC serves by SSH at its own address."""

    port: int
    command: str | None  # to be typed at the BMC's shell; None: the login itself leads to the console


@dataclass(frozen=True, slots=True)
class SolConsole:
    """A console by Serial over LAN (IPMI 2.0 §15): the command that joins a terminal to it, and its environment."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # has the password


def ssh_console(system: Mapping[str, Any]) -> SshConsole | None:
    """The console of a ComputerSystem's resource; None where it offers none by SSH."""
    console = system.get("SerialConsole")
    ssh = console.get("SSH") if isinstance(console, dict) else None
    if not isinstance(ssh, dict) or ssh.get("ServiceEnabled") is not True:
        return None
    port, command = ssh.get("Port"), ssh.get("ConsoleEntryCommand")
    shell = ssh.get("SharedWithManagerCLI") is True
    if shell and not (isinstance(command, str) and command.isprintable()):
        return None  # a shell, and nothing told that leads out of it
    if not isinstance(port, int) or not 0 < port < 65536:
        port = _SSH
    return SshConsole(port, command if shell else None)
