"""How the leaf keeps the secrets of its configuration: hidden as `$9$`, in another way each time."""

from __future__ import annotations

from contextlib import suppress
from random import SystemRandom

from netconf.render import Element
from netconf.secret9 import NotHidden, decode, encode

_HIDDEN = "authentication-key"
_RANDOM = SystemRandom()


def hide(configuration: Element) -> None:
    """Hide each secret of a configuration that is not hidden yet."""
    for one in configuration.iter(_HIDDEN):
        if one.text:
            try:
                decode(one.text)
            except NotHidden:
                one.text = encode(one.text, _RANDOM)


def revealed(text: str) -> str:
    """The secret that a statement holds."""
    with suppress(NotHidden):
        return decode(text)
    return text
