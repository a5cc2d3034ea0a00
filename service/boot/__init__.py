"""The boot decision: which address a port's client gets, and where its machine's network boot leads.

The port is the identity (giaddr with circuit-id and remote-id, then the boot link's source address); the MAC only
confirms. A decision is a function of the machine's state, so a repeated boot gets the same answer and none loops.
"""
