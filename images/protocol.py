"""The words between the in-RAM installer's agent and the service: JSON over HTTP, standard library only.

Every call comes from the machine's boot link; the service checks the source address against the port and the
session that `hello` gave. All bodies are JSON objects.

    POST /agent/v1/hello              {"token", "mac", "inventory"}  200 {"session", "machine"}  403: used or foreign
    POST /agent/v1/inventory          {"inventory"}                   204                           401: session ended
    GET  /agent/v1/work?wait=SECONDS                                  200 Work | 204 nothing yet    401: session ended
    POST /agent/v1/work/{id}/progress {"stage", "percent", "bytes_done", "bytes_total",
                                       "bytes_per_s", "message", "result"}                           204
    POST /agent/v1/work/{id}/done     {"result"}                      204, also when told before
    POST /agent/v1/work/{id}/failed   {"reason", "stage"}             204, also when told before
    POST /agent/v1/sink               anything, which is counted      200 {"bytes"}
    GET  /agent/v1/bundles/{sha256}   a firmware bundle

`hello` is the only call without `Authorization: Bearer SESSION`. The token comes on the kernel's command line
(`roundhouse.token=`, `roundhouse.url=`) and is good for one `hello`; a repeat of the same hello from the same port
within the session's life gets the same answer, so a lost reply does no harm. 401 means: reboot into the network.
The inventory of `hello` is what costs no time to find; the rest follows, and what is told twice counts as told last.
`result` in a progress is what can be told already; it is kept until the end tells more.
404 or 409 on a piece of work means: drop it and ask for work again. Everything else is retried with back-off.
"""

from __future__ import annotations

from typing import Literal, TypedDict

WorkKind = Literal["install", "erase", "reboot", "burn_in", "rescue", "firmware"]
Handover = Literal["switch_root", "kexec", "reboot"]
NetworkStyle = Literal["networkd", "netplan", "ifupdown", "networkmanager"]


class Image(TypedDict):
    """A whole-disk image in chunks (`images.chunks`). The map tells each chunk's sha256, and the work the map's."""

    url: str  # of the data file; the server must know ranges (RFC 9110 §14)
    bytes: int
    map_url: str
    map_sha256: str
    disk_bytes: int


class Address(TypedDict):
    """One address of the installed system."""

    address: str  # "198.51.100.5/31"
    gateway: str
    public: bool


class Network(TypedDict):
    """The installed system's network: static addresses on one card, or on a bond of several."""

    macs: list[str]  # the cards; more than one only in a bond
    bond: Literal["none", "lacp"]
    addresses: list[Address]
    private_subnets: list[str]  # reached by the private gateway; all else goes by the public one
    nameservers: list[str]


class DiskHint(TypedDict, total=False):
    """What a disk must be; everything that is named has to fit."""

    path: str
    serial: str
    type: Literal["nvme", "ssd", "hdd"]
    min_bytes: int
    max_bytes: int


class Storage(TypedDict):
    """How the disks are used: the root file system on one disk, or on software RAID, LVM and encryption over some."""

    disks: list[DiskHint]  # one for each disk; empty: the first disks that are large enough, as many as are needed
    raid: Literal["none", "1", "10"]
    lvm: bool
    passphrase: str  # of the encrypted root; empty: not encrypted


class Wish(TypedDict):
    """What the customer's system is to be, whichever way it is installed."""

    hostname: str
    ssh_keys: list[str]
    password_hash: str  # crypt(3)'s; empty: no password
    network: Network
    storage: Storage
    metadata_url: str  # where /metadata and the EC2 tree begin
    phone_home_url: str
    instance_id: str
    userdata: str


class InstallSpec(Wish):
    """What the agent installs. Nothing in it changes while the work is under way."""

    image: Image
    user: str  # whom the SSH keys let in
    network_style: NetworkStyle
    ignition: str  # the whole configuration of a system that only Ignition configures, but for its host key; or empty
    handover: list[Handover]  # in order of preference; the agent takes the first that this image and kernel allow


class EraseSpec(TypedDict):
    """Which disks to erase: all of them as a rule."""

    disks: list[str]  # empty: all
    sample_count: int  # random places read back from each disk, besides those where something is expected
    limit_s: float  # for all of it; no method is begun that would end later by its own estimate


class BurnInSpec(TypedDict):
    """How hard a machine is tried. What is on its disks is lost."""

    seconds: int  # for all parts together; each takes a little at least
    parts: list[Literal["cpu", "memory", "disk", "network"]]
    download_url: str  # something large, again and again
    upload_url: str  # takes what is sent
    memory_bytes: int  # at most; 0: all that is free


class DiskBurnIn(TypedDict):
    """How one disk fared. Rates are 0 where nothing went through."""

    path: str
    serial: str
    written_bytes: int
    verified_bytes: int
    write_bytes_per_s: float
    read_bytes_per_s: float
    errors: int  # runs of blocks that could not be written, or came back otherwise
    first_error: str


class BurnInResult(TypedDict, total=False):
    """What was measured; a part that was not asked for is absent."""

    cpu: dict[str, float]  # threads, rounds, wrong, slowest_rounds_per_s, temperature_c
    memory: dict[str, float]  # bytes, passes, errors, bytes_per_s, corrected, uncorrected
    disks: list[DiskBurnIn]
    network: dict[str, float]  # download_bytes_per_s, upload_bytes_per_s, errors, retransmitted, link_errors


class RescueSpec(TypedDict):
    """A login for people. It ends when the work is withdrawn, or the machine is restarted."""

    ssh_keys: list[str]
    port: int
    addresses: list[Address]  # taken beside the boot link's


class RescueResult(TypedDict):
    """What progress tells as soon as one can log in."""

    host_keys: list[str]  # public, OpenSSH form; made for this once
    port: int


class FirmwareSpec(TypedDict):
    """A bundle of the operator's: a tar archive, and the program in it to run."""

    url: str
    sha256: str
    program: str  # its path in the archive
    arguments: list[str]
    limit_s: int


class FirmwareResult(TypedDict):
    """What came of it. `told` is the JSON object that the program printed last, if it did."""

    exit_code: int
    seconds: float
    told: dict[str, object]
    output: str  # the end of what it printed


class Work(TypedDict):
    """One piece of work. The same id is handed out again after a reboot until it is done or failed."""

    id: str
    kind: WorkKind
    spec: InstallSpec | EraseSpec | BurnInSpec | RescueSpec | FirmwareSpec | dict[str, str]


class InstallResult(TypedDict):
    """What `done` carries for an install; it is told before the hand-over."""

    disk: str
    bytes_written: int
    seconds: float
    host_keys: list[str]  # public, OpenSSH form
    handover: Handover


class EraseAttempt(TypedDict):
    """One method on one disk, and what came of it."""

    method: str  # "nvme-sanitize-block", "ata-security-enhanced", "discard-zeroes", "overwrite-zeros", …
    outcome: Literal["done", "refused", "failed", "too slow"]
    reason: str  # why it did not serve; empty when it did
    seconds: float


class DiskErasure(TypedDict):
    """Evidence for one disk."""

    path: str
    serial: str
    bytes: int
    controller: str  # "nvme", "ata", "scsi", "block": the language in which the disk was asked
    model: str
    firmware: str
    method: str  # the one that served
    seconds: float  # all attempts and the samples
    attempts: list[EraseAttempt]  # in order; the last one is done
    hidden: list[str]  # areas that no read reaches, and what was done about each
    samples_read: int
    samples_clean: int
    samples_old: int  # of those read, how many held data before
    verdict: Literal["zeros", "pattern", "changed"]  # what the samples show: zeros, what was written, nothing of before


class EraseResult(TypedDict):
    """What `done` carries for an erase."""

    disks: list[DiskErasure]
