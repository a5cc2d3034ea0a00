"""Which statements the leaf knows, and how Junos writes them: what its text and `set` forms are read and written by.

XML needs no grammar and is taken as it comes; words do, for whether one is a statement, a list's key or a value is said
nowhere but here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["container", "list", "value", "values", "flag"]

# Statements, and below the last of a line what stands in it. `x` is a container (`x?` one that means something while it
# is empty), `x*` a list (`x*key` with its key's name), `x=` a statement with a value, `x[]` one that may come several
# times, `x!` one without a value. `(x)` is not written as a word. After that, how it is written: `+` in one line with
# each of what is in it, `~` with the only one, `>` with all of it, `^` with all of it as a `set` statement, too; `&` a
# list and its entries with one pair of braces. `@x` stands for what is defined as `x:`.
_STATEMENTS = """
root:
 groups*
  @root
 apply-groups[]
 system
  host-name= domain-name= time-zone=
  root-authentication
   encrypted-password= plain-text-password-value=
  login
   message=
   class*
    permissions[] allow-configuration-regexps[]
   user*
    uid= full-name= class=
    authentication
     encrypted-password= ssh-ed25519* ssh-ecdsa* ssh-rsa*
  name-server*
  services
   ssh
    root-login= protocol-version[]
   netconf
    ssh
     port= connection-limit= rate-limit= client-alive-interval= client-alive-count-max=
    rfc-compliant!
  syslog
   host*
    contents*
     any! notice! info!
   file*
    contents*
     any! notice! info!
  commit
   persist-groups-inheritance! synchronize!
  ntp
   server*>
    prefer!
  configuration-database
   ephemeral
    instance* ignore-ephemeral-default!
 chassis
  aggregated-devices
   ethernet
    device-count=
 snmp
  location= contact=
  community*
   authorization= clients*
 interfaces
  (interface)*
   apply-groups[] description= disable! mtu= speed=
   unit*
    description= disable! vlan-id=
    family+
     inet?
      mtu= no-redirects! arp-max-cache= arp-new-hold-limit= @family
      policer
       arp=
     inet6?
      mtu= no-redirects! dad-disable! nd6-max-cache= nd6-new-hold-limit= @family
     ethernet-switching?
      interface-mode=
      vlan
       members[]
 forwarding-options
  dhcp-relay
   forward-only! @relay-options maximum-hop-count=
   server-group
    (server-group)*
     (address)*
   active-server-group
    (active-server-group)=
   group*
    active-server-group
     (active-server-group)=
    forward-only! @relay-options interface*
   dhcpv6
    server-group
     (server-group)*
      (address)*
    group*
     active-server-group
      (active-server-group)=
     forward-only! relay-agent-option-79! interface*
     relay-agent-interface-id?
      prefix
       host-name!
     relay-agent-remote-id?
      prefix
       host-name!
 routing-options
  router-id=
  autonomous-system
   (as-number)= loops= asdot-notation!
  @tables
  rib*
   @tables
  forwarding-table
   export[] unicast-reverse-path=
 protocols
  lldp
   port-id-subtype= advertisement-interval= management-address[]
   interface*
    disable!
  router-advertisement
   interface*
    default-lifetime= max-advertisement-interval= min-advertisement-interval= managed-configuration!
    other-stateful-configuration!
    prefix*
     no-autonomous! no-on-link!
  bgp
   @bgp
   group*
    type= @bgp
    neighbor*
     @bgp
 policy-options
  prefix-list*
   (prefix-list-item)* apply-path=
  policy-statement*
   term*
    from
     @from
    then~
     @then
   from
    @from
   then~
    @then
  community*
   members[] invert-match!
 firewall
  family+
   inet
    @filters4
   inet6
    @filters6
  policer*
   if-exceeding
    bandwidth-limit= burst-size-limit=
   then~
    discard! loss-priority= forwarding-class=
 vlans
  (vlan)*
   vlan-id= description= l3-interface=
family:
 filter
  input
   (filter-name)=
  output
   (filter-name)=
  input-list[]
 rpf-check?
  fail-filter=
  mode~
   loose!
 address*
  primary! preferred!
relay-options:
 relay-option-82
  circuit-id?
   prefix
    host-name!
   use-interface-description=
  remote-id
   hostname-only!
   prefix
    host-name!
 overrides
  trust-option-82! always-write-option-82!
tables:
 static
  route*~
   next-hop[]
   qualified-next-hop*
    preference= metric=
   discard! reject! no-readvertise! no-install!
   preference
    (metric-value)=
   metric
    (metric-value)=
   tag
    (metric-value)=
 aggregate
  route*~
   discard!
bgp:
 description= passive! hold-time= local-address= import[] export[] peer-as=
 local-as>
  (as-number)= private! alias! no-prepend-global-as! loops=
 authentication-key=
 multihop?
  ttl=
 multipath?
  multiple-as!
 mtu-discovery! log-updown! remove-private! enforce-first-as! advertise-inactive! out-delay=
 graceful-restart?
  disable!
 family+
  inet
   @unicast
  inet6
   @unicast
 bfd-liveness-detection
  minimum-interval= multiplier=
 tcp-mss= ttl=
unicast:
 unicast?
  prefix-limit
   @limit
  accepted-prefix-limit
   @limit
limit:
 maximum=
 teardown?
  (limit-threshold)=
  idle-timeout
   (timeout)= forever!
from:
 protocol[] family= rib= prefix-list*
 prefix-list-filter*list_name^
  exact! longer! orlonger!
 route-filter*address^
  @lengths
 community[] neighbor[] interface[] as-path[]
lengths:
 exact! longer! orlonger! upto= prefix-length-range=
then:
 community^
  add! delete! set! (community-name)=
 local-preference
  (local-preference)=
 metric
  (metric)=
 as-path-prepend=
 next-hop
  self!
 load-balance
  per-packet!
 next= accept! reject!
filters4:
 filter*
  interface-specific!
  term*
   from
    @filtered
    protocol[] ttl[]
   @filter-then
filters6:
 filter*
  interface-specific!
  term*
   from
    @filtered
    next-header[] hop-limit[]
   @filter-then
filtered:
 source-address*& destination-address*& address*& source-prefix-list*& destination-prefix-list*& prefix-list*&
 port[] source-port[] destination-port[] icmp-type[] tcp-established! tcp-initial!
filter-then:
 then~
  policer= count= log! syslog! loss-priority= forwarding-class= next= accept! discard! reject!
"""

SECRETS = frozenset({"authentication-key", "encrypted-password"})  # what is marked as one where it is shown


@dataclass(slots=True)
class Statement:
    """A statement that may stand somewhere."""

    tag: str
    kind: Kind = "container"
    present: bool = False  # whether a container means something while it is empty
    silent: bool = False
    key: str = "name"
    line: str = ""  # see above
    inner: dict[str, Statement] = field(default_factory=dict)

    @property
    def unspoken(self) -> Statement | None:
        """What stands here without a word of its own."""
        return next((one for one in self.inner.values() if one.silent), None)

    def spoken(self, word: str) -> Statement | None:
        """What stands here under the word."""
        found = self.inner.get(word)
        return None if found is None or found.silent else found


_STATEMENT = re.compile(r"(?:(@)([\w-]+)|(\()?([\w-]+)\)?(?:(\*)(\w*)|(=)|(\[\])|(!)|(\?))?([+~>^&])?)")


def _define(word: str, parent: Statement, lent: list[tuple[Statement, str]]) -> Statement | None:
    """Put the statement that a word of the table defines into its parent; nothing for what is to be lent to it."""
    found = _STATEMENT.fullmatch(word)
    assert found is not None, word
    at, group, silent, tag, listed, key, value, values, flag, present, how = found.groups()
    if at:
        lent.append((parent, group))
        return None
    kind: Kind = "list" if listed else "value" if value else "values" if values else "flag" if flag else "container"
    made = parent.inner[tag] = Statement(tag, kind, bool(present), bool(silent), key or "name", how or "")
    return made


def _read(text: str) -> Statement:
    defined: dict[str, Statement] = {}
    lent: list[tuple[Statement, str]] = []
    above: list[Statement] = []
    for line in text.strip().splitlines():
        if line.endswith(":"):
            above = [defined.setdefault(line[:-1], Statement(line[:-1]))]
            continue
        del above[len(line) - len(line.lstrip()) :]
        *leaves, last = line.split()
        for word in leaves:
            _define(word, above[-1], lent)
        if (made := _define(last, above[-1], lent)) is not None:
            above.append(made)
    for _ in range(len(defined)):  # what is lent may itself borrow
        for borrower, group in lent:
            borrower.inner |= {tag: one for tag, one in defined[group].inner.items() if tag not in borrower.inner}
    return defined["root"]


ROOT = _read(_STATEMENTS)


def _several(statement: Statement) -> Iterator[str]:
    for tag, one in statement.inner.items():
        if tag != "groups":
            if one.kind == "values":
                yield tag
            yield from _several(one)


SEVERAL = frozenset(_several(ROOT))  # tags of what may be given several times
