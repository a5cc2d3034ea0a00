"""DHCPv6: a codec, a pure answer, and a thin asyncio shell that is handed its decision."""
