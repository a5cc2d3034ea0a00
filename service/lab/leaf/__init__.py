"""A virtual leaf: a NETCONF server over SSH with candidate, lock, confirmed commit, and faults to be set."""

from service.lab.leaf.bgp import Speaker
from service.lab.leaf.databases import Trials
from service.lab.leaf.faults import Fault, Point, PortRefusal
from service.lab.leaf.links import Plug
from service.lab.leaf.server import VirtualLeaf

__all__ = ["Fault", "Plug", "Point", "PortRefusal", "Speaker", "Trials", "VirtualLeaf"]
