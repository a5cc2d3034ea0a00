"""Real DHCPv6 clients, relays and firmware against the server, in network namespaces."""
