"""The virtual rack: leaf, BMC and machines that speak the real protocols over real sockets."""
