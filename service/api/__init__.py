"""The customer API in the Packet dialect."""
