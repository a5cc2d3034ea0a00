"""Read-only TFTP for the first stage: packets, the sending side as a pure state machine, and the asyncio server."""
