"""An interpreter of the iPXE script commands that boot scripts use, for machines that have no iPXE."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
from aiohttp import ClientError

log = structlog.get_logger()

_VARIABLE = re.compile(r"\$\{([^{}:]*)(?::[^{}]*)?\}")
_DEEPEST = 8
# Commands without an effect here that must not fail a script.
_NO_OPS = {"echo", "imgfree", "imgstat", "dhcp", "ifopen", "ifclose", "ifconf", "prompt", "console", "cpair", "colour"}
_WITH_VALUE = {"--name", "-n", "--timeout", "-t", "--params", "-p", "--drive", "-d", "--filename", "-f"}


@dataclass(frozen=True, slots=True)
class BootKernel:
    """A kernel was started."""

    cmdline: str


@dataclass(frozen=True, slots=True)
class NextDevice:
    """The script ended, or said so: firmware goes on to its next boot source."""

    status: int = 0


@dataclass(frozen=True, slots=True)
class LocalDisk:
    """The first disk is started from within iPXE."""


@dataclass(frozen=True, slots=True)
class Reboot:
    """The machine starts over."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A program was started that a light machine knows nothing of, or a prompt waits for a person."""


Outcome = BootKernel | NextDevice | LocalDisk | Reboot | Foreign


class _Ended(Exception):
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


@dataclass(slots=True)
class ScriptRun:
    """One run. `load` fetches and forgets, `text` fetches (or posts a form) for a script's text; both may raise."""

    load: Callable[[str], Awaitable[int]]
    text: Callable[[str, dict[str, str] | None], Awaitable[str]]
    sleep: Callable[[float], Awaitable[None]]
    disk_boots: bool
    settings: dict[str, str] = field(default_factory=dict)
    _kernel: str | None = None  # the command line of the kernel that was loaded
    _selected: str | None = None  # the text of the script image that was fetched
    _form: dict[str, str] | None = None
    _depth: int = 0

    async def run(self, script: str) -> Outcome:
        """Run a script to its end."""
        lines = [line.strip() for line in script.splitlines()]
        labels = {line[1:].split()[0]: at for at, line in enumerate(lines) if re.match(r":\S", line)}
        at = 0
        while at < len(lines):
            line, at = lines[at], at + 1
            if not line or line[0] in "#:":
                continue
            try:
                ok, target = await self._line(line)
            except _Ended as ended:
                return ended.outcome
            if target is not None:
                if target not in labels:
                    return NextDevice(1)
                at = labels[target]
                await self.sleep(0)  # a loop without a pause must not hold up the other machines
            elif not ok:
                return NextDevice(1)
        return NextDevice(0)

    async def _line(self, line: str) -> tuple[bool, str | None]:
        """Run the commands of a line as `&&` and `||` join them: success, and the label of a goto."""
        ok, wanted = True, True
        words: list[str] = []
        for word in [*line.split(), "||"]:
            if word not in ("&&", "||"):
                words.append(word)
                continue
            if wanted:
                expanded = [self._expand(one) for one in words]  # after the split, as iPXE does: a value stays one word
                if expanded[:1] == ["goto"]:
                    return True, expanded[1]
                ok = await self._command(expanded) if expanded else True
            words = []
            wanted = ok if word == "&&" else not ok
        return ok, None

    def _expand(self, word: str) -> str:
        return _VARIABLE.sub(lambda found: self.settings.get(found[1], ""), word)

    async def _command(self, words: list[str]) -> bool:
        name, *rest = words
        try:
            return await self._known(name, *_plain(rest))
        except (ClientError, OSError, TimeoutError, ValueError, IndexError) as err:
            log.debug("ipxe_command_failed", command=name, detail=str(err))
            return False

    async def _known(self, name: str, options: dict[str, str], words: list[str]) -> bool:
        match name:
            case "set":
                self.settings[words[0].partition(":")[0]] = " ".join(words[1:])
            case "clear":
                self.settings.pop(words[0], None)
            case "inc":
                amount = int(words[1]) if len(words) > 1 else 1
                self.settings[words[0]] = str(int(self.settings.get(words[0]) or "0") + amount)
            case "iseq":
                return len(words) == 2 and words[0] == words[1]
            case "isset":
                return words != [""]
            case "sleep":
                await self.sleep(float(words[0]))
            case "params":
                self._form = {}
            case "param":
                assert self._form is not None
                self._form[words[0]] = " ".join(words[1:])
            case "kernel":
                await self.load(words[0])
                self._kernel = " ".join(words[1:])
            case "initrd":
                await self.load(words[0])
            case "imgfetch" | "chain":
                url, _, posts = words[0].partition("##")
                form = self._form if posts or "--params" in options else None
                self._selected = await self.text(url, form)
                if name == "chain":
                    return await self._start()
            case "imgselect":
                return self._selected is not None
            case "boot":
                return await self._start()
            case "sanboot":
                if self.disk_boots:
                    raise _Ended(LocalDisk())
                return False
            case "exit":
                raise _Ended(NextDevice(int(words[0]) if words else 0))
            case "reboot":
                raise _Ended(Reboot())
            case "shell":
                raise _Ended(Foreign())
            case _:
                return name in _NO_OPS
        return True

    async def _start(self) -> bool:
        if self._kernel is not None:
            raise _Ended(BootKernel(self._kernel))
        if self._selected is None or self._depth >= _DEEPEST:
            return False
        script, self._selected = self._selected, None
        if not script.startswith("#!ipxe"):
            raise _Ended(Foreign())
        self._depth += 1
        outcome = await self.run(script)
        self._depth -= 1
        if isinstance(outcome, NextDevice):  # the inner script ended: the outer one goes on
            return outcome.status == 0
        raise _Ended(outcome)


def _plain(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options in front of the arguments, and the arguments."""
    options: dict[str, str] = {}
    while words and words[0].startswith("-"):
        option, *words = words
        if option in _WITH_VALUE and words:
            options[option], *words = words
        else:
            options[option] = ""
    return options, words
