"""`roundhouse completion SHELL`: the script that a shell reads, and the answers that it asks for at each TAB.

The words come from the parser itself; names of machines and the like come from the API, within half a second, and are
kept for half a minute.
"""

from __future__ import annotations

import hashlib
import json
import os
from argparse import Action, ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import time

from service.cli.client import CallFailed, Client, environment, escaped

_ASKS_S = 0.5
_KEPT_S = 30.0

_SCRIPTS = {
    "bash": """\
_roundhouse() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" completion answer "$COMP_CWORD" "${COMP_WORDS[@]}" 2>/dev/null))
}
complete -o default -F _roundhouse roundhouse
""",
    "zsh": """\
#compdef roundhouse
_roundhouse() {
    local -a found
    found=(${(f)"$("${words[1]}" completion answer "$((CURRENT - 1))" "${words[@]}" 2>/dev/null)"})
    if (( $#found )); then compadd -a found; else _files; fi
}
if [[ "$funcstack[1]" == _roundhouse ]]; then _roundhouse "$@"; else compdef _roundhouse roundhouse; fi
""",
    "fish": """\
function __roundhouse_answer
    set -l words (commandline -opc) (commandline -ct)
    $words[1] completion answer (math (count $words) - 1) $words 2>/dev/null
end
complete -c roundhouse -a '(__roundhouse_answer)'
""",
}

# By the word that stands for a value in the help: where the names are, the list in the answer, and the name in an item.
_NAMES: dict[str, tuple[str, str, str]] = {
    "MACHINE": ("/admin/v1/machines", "machines", "name"),
    "LEAF": ("/admin/v1/leaves", "leaves", "name"),
    "RACK": ("/admin/v1/racks", "racks", "name"),
    "PLAN": ("/plans", "plans", "slug"),
    "FACILITY": ("/facilities", "facilities", "code"),
    "OS": ("/operating-systems", "operating_systems", "slug"),
    "PROJECT": ("/projects?per_page=250", "projects", "name"),
    "ORDER": ("/admin/v1/orders?all=true", "orders", "hostname"),
    "RUN": ("/admin/v1/runs", "runs", "id"),
    "PREFIX": ("/ipam/v1/prefixes", "prefixes", "prefix"),
}
_ALSO = {"--facility": "FACILITY", "--plan": "PLAN", "--os": "OS", "--leaf": "LEAF", "--project": "PROJECT"}


def add_arguments(parser: ArgumentParser) -> None:
    """Which shell."""
    parser.add_argument("shell", metavar="SHELL", choices=tuple(_SCRIPTS), help=", ".join(_SCRIPTS))


def run(args: Namespace) -> int:
    """Print the script."""
    print(_SCRIPTS[args.shell], end="")
    return 0


def answer(words: Sequence[str], parser_for: Callable[[Sequence[str]], ArgumentParser]) -> int:
    """Print what the word under the cursor may be, a candidate a line. `words` are its number and the command line.

    Says nothing of what it does not know: a shell then offers files.
    """
    line = [word for word in words[1:] if word != "="]
    cursor = int(words[0]) - (len(words) - 1 - len(line))
    before, now = line[1:cursor], line[cursor] if cursor < len(line) else ""
    if line[cursor - 1 : cursor] and words[-1] == "=":
        now = ""
    found = candidates(parser_for(before), before, now)
    print("".join(f"{word}\n" for word in found if word.startswith(now)), end="")
    return 0


def candidates(parser: ArgumentParser, before: Sequence[str], now: str) -> list[str]:
    """All that may stand at the cursor, behind the words `before`."""
    given: list[str] = []
    rest = list(before)
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            option = _option(parser, word)
            if option is not None and _takes_value(option) and "=" not in word:
                if not rest:
                    return _values(option, given) if option.nargs != "?" else _next(parser, given, now)
                rest.pop(0)
            continue
        verbs = verbs_of(parser)
        if verbs is not None:
            if word not in verbs.choices:
                return []
            parser, given = verbs.choices[word], []
        else:
            given.append(word)
    return _next(parser, given, now)


def _next(parser: ArgumentParser, given: Sequence[str], now: str) -> list[str]:
    if now.startswith("-"):
        return sorted(option for action in parser._actions for option in action.option_strings)
    if (verbs := verbs_of(parser)) is not None:
        return sorted(verbs.choices)
    positional = [action for action in parser._actions if not action.option_strings]
    if not positional:
        return []
    place = min(len(given), len(positional) - 1)
    if place < len(given) and positional[place].nargs not in ("*", "+"):
        return []
    return _values(positional[place], given)


def verbs_of(parser: ArgumentParser) -> _SubParsersAction[ArgumentParser] | None:
    """The choices of nouns or verbs that a parser begins with; None for a command."""
    return next((action for action in parser._actions if isinstance(action, _SubParsersAction)), None)


def _option(parser: ArgumentParser, word: str) -> Action | None:
    name = word.partition("=")[0]
    return next((action for action in parser._actions if name in action.option_strings), None)


def _takes_value(option: Action) -> bool:
    return option.nargs is None or option.nargs not in (0,)


def _values(action: Action, given: Sequence[str]) -> list[str]:
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    options = [_ALSO[name] for name in action.option_strings if name in _ALSO]
    kind = options[0] if options else action.metavar
    if kind == "PORT" and given:
        return _asked((f"/admin/v1/ports?leaf={escaped(given[0])}", "ports", "name"))
    if kind == "DEVICE":
        return _devices()
    return _asked(_NAMES[kind]) if isinstance(kind, str) and kind in _NAMES else []


def _devices() -> list[str]:
    project = environment("PROJECT")
    if project is None:
        project = next(iter(_asked(("/user", "", "default_project_id"))), None)
    if project is None:
        return []
    return _asked((f"/projects/{escaped(project)}/devices?per_page=250", "devices", "hostname"))


def _asked(source: tuple[str, str, str]) -> list[str]:
    """The names, from the cache or the API; none when neither has them in time."""
    path, items, name = source
    url, token = environment("API") or "http://127.0.0.1:8080", environment("TOKEN")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roundhouse"
    file = folder / hashlib.sha256(f"{url} {token} {source}".encode()).hexdigest()[:32]
    try:
        if time() - file.stat().st_mtime < _KEPT_S:
            return [str(one) for one in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError):
        pass
    try:
        body = Client(url, token, timeout_s=_ASKS_S).get(path)
    except CallFailed:
        return []
    found = _names(body[items] if items else [body], name)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_text(json.dumps(found), encoding="utf-8")
    except OSError:
        pass  # a shell without a home asks each time
    return found


def _names(items: Iterable[dict[str, object]], name: str) -> list[str]:
    return sorted({str(one[name]) for one in items if one.get(name)})
