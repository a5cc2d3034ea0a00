"""The certificate that a BMC shows: most are signed by nobody, so the one that was seen first is the one to be seen."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from urllib.parse import urlsplit

from service.power.errors import BmcUnreachable

_TIMEOUT_S = 10.0


async def shown_certificate(url: str) -> str | None:
    """The SHA-256 of the certificate at the URL's address, in hexadecimal; None for a URL without TLS.

    Nothing is sent there but the handshake. Raises BmcUnreachable.
    """
    parts = urlsplit(url)
    if parts.scheme != "https":
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=context)
    except (OSError, TimeoutError) as err:
        raise BmcUnreachable(f"{parts.netloc}: {err!r}") from err
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
    return hashlib.sha256(shown).hexdigest()
