"""Configuration as words: Junos' `set` commands and its text with braces, read into edits. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from netconf.render import Element
from service.lab.leaf.datastore import INACTIVE, OPERATION, EditError
from service.lab.leaf.grammar import ROOT, Statement

_TOKEN = re.compile(
    r"""\s+ | /\*.*?\*/ | \#[^\n]* | "(?P<quoted>(?:\\.|[^"\\])*)" | (?P<mark>[{}\[\];]) | (?P<word>[^\s{}\[\];"]+)""",
    re.DOTALL | re.VERBOSE,
)
_MARKS = frozenset("{}[];")
# What may stand before a statement in the text form, and the attribute that says it in XML.
_BEFORE = {
    "replace:": (OPERATION, "replace"),
    "delete:": (OPERATION, "delete"),
    "inactive:": (INACTIVE, INACTIVE),
    "active:": ("active", "active"),
}
_COMMANDS = {
    "set": None,
    "delete": (OPERATION, "delete"),
    "deactivate": (INACTIVE, INACTIVE),
    "activate": ("active", "active"),
}


class _Mark(str):
    """A token that is no word: a brace, a bracket, a semicolon."""


def _wrong(word: str) -> EditError:
    return EditError("operation-failed", "syntax error", bad_element=word, layer="protocol")


def _tokens(text: str) -> list[str]:
    made: list[str] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _wrong(text[position : position + 20].split("\n")[0])
        position = found.end()
        if (mark := found["mark"]) is not None:
            made.append(_Mark(mark))
        elif found["quoted"] is not None:
            made.append(re.sub(r"\\(.)", r"\1", found["quoted"]))
        elif found["word"] is not None:
            made.append(found["word"])
    return made


class _Path:
    """Elements that are made one inside the other as words come, from the root of an edit."""

    def __init__(self, here: Element, may: Statement) -> None:
        self.here = here
        self.may = may
        self.last = [here]  # what the last word made: several where values came in brackets
        self.statement = may
        self.above = may  # where that may stand

    def take(self, words: list[str], *, whole: bool = True, opens: bool = False) -> None:
        """Take all words. Raises EditError. Unless `whole`, the last value may be left out.

        What `opens` braces may be a list without a key.
        """
        rest = list(words)
        while rest:
            found = self.may.spoken(rest[0])
            if found is not None:
                del rest[0]
            elif (found := self.may.unspoken) is None or isinstance(rest[0], _Mark):
                raise _wrong(rest[0])
            self.statement = found
            made = etree.SubElement(self.here, found.tag)
            self.last, self.above = [made], self.may
            if found.kind in ("container", "list"):
                if found.kind == "list" and (rest or not opens):
                    etree.SubElement(made, found.key).text = self._value(rest, found)
                self.here, self.may = made, found
            elif found.kind == "value" and (rest or whole):
                made.text = self._value(rest, found)
            elif found.kind == "values" and (rest or whole):
                self._values(made, rest, found)

    def _value(self, rest: list[str], found: Statement) -> str:
        if not rest or isinstance(rest[0], _Mark):
            raise EditError("operation-failed", "missing argument", bad_element=found.tag, layer="protocol")
        return str(rest.pop(0))

    def _values(self, first: Element, rest: list[str], found: Statement) -> None:
        if not (rest and isinstance(rest[0], _Mark) and rest[0] == "["):
            first.text = self._value(rest, found)
            return
        end = next((number for number, word in enumerate(rest) if isinstance(word, _Mark) and word == "]"), 0)
        values = rest[1:end]
        del rest[: end + 1]
        if not values:
            raise _wrong("[")
        first.text = values[0]
        for value in values[1:]:
            self.last.append(etree.SubElement(self.here, found.tag))
            self.last[-1].text = value


def commands(text: str) -> Iterator[Element | EditError]:
    """The edits that `set`, `delete`, `activate` and `deactivate` commands make, a line each, or what is wrong."""
    for line in text.splitlines():
        try:
            words = _tokens(line)
            if not words:
                continue
            if words[0] not in _COMMANDS:
                raise _wrong(words[0])
            said = _COMMANDS[words[0]]
            root = etree.Element("configuration")
            path = _Path(root, ROOT)
            path.take(words[1:], whole=said is None)
            if said is not None:
                for one in path.last:
                    one.set(*said)
            yield root
        except EditError as err:
            yield err


def text_edit(text: str) -> Element:
    """The edit that a text with braces is. Raises EditError."""
    root = etree.Element("configuration")
    reader = _Reader(_tokens(text))
    reader.block(root, ROOT)
    if (rest := reader.next()) is not None:
        raise _wrong(rest)
    return root


class _Reader:
    """Statements with braces, read from the first token to the last."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def next(self) -> str | None:
        """The next token, which is taken; None after the last."""
        self._at += 1
        return self._tokens[self._at - 1] if self._at <= len(self._tokens) else None

    def _closes(self) -> bool:
        token = self._tokens[self._at] if self._at < len(self._tokens) else _Mark("}")
        return isinstance(token, _Mark) and token == "}"

    def block(self, here: Element, may: Statement, each: str | None = None) -> None:
        """Statements up to a closing brace or the end; `each` is a word that all of them begin with, unsaid."""
        while not self._closes():
            self._statement(here, may, each)

    def _statement(self, here: Element, may: Statement, each: str | None) -> None:
        before = []
        words = [] if each is None else [each]
        while (token := self.next()) is not None and (not isinstance(token, _Mark) or token in "[]"):
            if token in _BEFORE and len(words) == (each is not None):
                before.append(_BEFORE[token])
            else:
                words.append(token)
        if token is None or token == "}" or len(words) == (each is not None):
            raise _wrong(token or (words or ["}"])[-1])
        opens = token == "{"
        path = _Path(here, may)
        path.take(words, whole=not any(word == "delete" for _, word in before), opens=opens)
        for one in path.last:
            for name, value in before:
                one.set(name, value)
        if not opens:
            return
        last = path.last[-1]
        if path.statement.kind == "list" and last.find(path.statement.key) is None:
            # The entries of the list stand in the braces, each by its key alone.
            parent = last.getparent()
            assert parent is not None
            parent.remove(last)
            self.block(parent, path.above, path.statement.tag)
        elif path.statement.kind in ("container", "list"):
            self.block(path.here, path.may)
        else:
            raise _wrong("{")
        if self.next() is None:
            raise _wrong("}")
