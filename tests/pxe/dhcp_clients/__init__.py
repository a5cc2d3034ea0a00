"""Real DHCP clients and relays in network namespaces, against our server."""
