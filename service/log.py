"""One structured event a line: JSON for machines, colours for a terminal. Always on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

import structlog

_SECRET = ("token", "password", "secret", "authorization", "private_key")


def _hide_secrets(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name in event:
        if any(word in name.lower() for word in _SECRET):
            event[name] = "***"
    return event


def for_people() -> structlog.dev.ConsoleRenderer:
    """The form of a line at a terminal."""
    # With rich installed its tracebacks would show the value of every variable, keys included, and hold up the event
    # loop for seconds to do so.
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


class _StandardError:
    """Whatever standard error is when a line is written: loggers are kept, and it may be replaced meanwhile."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


@contextmanager
def log_from(level: str) -> Iterator[None]:
    """The log from `level` on, while the block runs; then as it was."""
    before = structlog.get_config()
    configure_log(level, lasting=False)
    try:
        yield
    finally:
        structlog.configure(**before)


def configure_log(level: str = "info", *, lasting: bool = True) -> None:
    """Set up structlog and the standard library's logging; `level` is a name such as "info". When it is to last,
    loggers keep what they find now, which is faster."""
    number = logging.getLevelNamesMapping()[level.upper()]
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _hide_secrets,
            *([] if terminal else [structlog.processors.format_exc_info]),
            for_people() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _StandardError())),
        cache_logger_on_first_use=lasting,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr)
