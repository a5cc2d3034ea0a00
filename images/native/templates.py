"""The templates beside this module."""

from __future__ import annotations

import shlex

import jinja2

# Nothing is escaped by itself: what a template is given is made safe for its own language by who gives it.
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("images", "native"),
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,
)
_ENVIRONMENT.filters["quote"] = shlex.quote


def template(name: str) -> jinja2.Template:
    """The template of that name, where `quote` makes a shell's word."""
    return _ENVIRONMENT.get_template(name)
