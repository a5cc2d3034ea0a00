"""What an operator can set: environment variables `ROUNDHOUSE_NAME`, or one TOML file named by ROUNDHOUSE_SETTINGS."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from images.build.architecture import KERNELS, Kernel
from images.build.origins import Origins
from images.signing import BadKey, PublicKeys, public_keys


class BadSetting(ValueError):
    """A setting is unknown or its value is not allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings with their defaults. A name's ending tells the unit."""

    database_url: str = ""  # empty: the embedded PostgreSQL in state_dir
    state_dir: Path = Path("var")  # embedded database, images, key file
    images_dir: str = ""  # the image store; empty: state_dir/images
    api_host: str = "127.0.0.1"
    api_port: int = 8080
    api_url: str = ""  # how customers reach the API; empty: from api_host and api_port
    image_keys: str = ""  # public keys in base64, separated by commas: releases must be signed by one; empty: need not
    image_peers: str = ""  # URLs of stores, separated by commas, whose releases are taken over
    image_sync_s: int = 300  # the peers are asked so often
    image_check_s: int = 86400  # each file of the store is read whole, and its hash compared, so often
    image_keep: int = 0  # releases of each slug that collection leaves; 0: only `roundhouse image collect` removes any
    image_keep_days: int = 30  # and those that are younger
    sos_host: str = "127.0.0.1"  # serial consoles are served by SSH here (docs/console.md)
    sos_port: int = 0  # 0: they are not
    sos_peer_host: str = ""  # where other processes reach them; empty: sos_host, or the address the database sees
    sos_name: str = ""  # how customers reach them, {facility} being the device's; empty: sos_host
    boot_host: str = "127.0.0.1"  # DHCP, TFTP, HTTP boot, metadata and agents are answered here
    # Addresses of all boot nodes, which leaves relay to, separated by commas; empty: boot_host and boot_host6.
    boot_nodes: str = ""
    boot_interfaces: str = ""  # links of this host on which machines are answered without a relay, separated by commas
    boot_url: str = ""  # how machines reach HTTP boot; empty: from boot_host and boot_port
    boot_host6: str = ""  # boot_host for machines that boot by IPv6; empty: not served
    boot_port: int = 8081  # HTTP: boot scripts, images, metadata, agents
    dhcp_port: int = 67
    dhcp_relay_port: int = 67  # where relays listen for answers (RFC 2131 §4.1: the same)
    tftp_port: int = 69
    machine_rate: int = 0  # bytes/s at which one machine is sent files at most; 0: as fast as it goes
    rack_rate: int = 0  # the same for all machines of one leaf together
    trusted_proxies: str = ""  # addresses, separated by commas, whose X-Forwarded-For is believed (docs/nginx.md)
    nginx_images: int = 0  # 1: images are sent by the nginx in front
    mirrors: str = ""  # prefixes that a machine may reach while it is installed, separated by commas
    # Upstream mirrors that installers fetch packages from by way of the boot nodes: NAME=URL, separated by commas. The
    # name is a slug or a distribution of the catalogue, as debian, or one of these and -security.
    package_mirrors: str = ""
    package_proxy: str = ""  # http://HOST:PORT, by which the upstream mirrors are reached; empty: directly
    package_cache_bytes: int = 20 << 30  # of packages kept in state_dir/packages
    nameservers: str = ""  # for installed systems, separated by commas
    ssh_port: int = 22  # where an installed system is seen from outside before it counts as active
    workers: int = 32  # runs carried out at once by one process
    lease_s: float = 10.0  # a run whose worker was not heard of for so long goes to another
    leaf_read_s: int = 600  # a leaf is read so often, for drift and cabling
    traffic_sample_s: int = 300  # the octet counters of devices' ports are read so often; 0: never
    traffic_keep_days: int = 62  # and kept for so long
    leaf_confirm_s: int = 120  # a leaf takes a change back by itself when nobody confirms it for so long
    order_limit_s: int = 300  # the promise
    place_limit_s: int = 240  # for a machine to become free
    port_limit_s: int = 240  # for the leaf to take an order's port; the order fails with the leaf's reason then
    install_limit_s: int = 240  # an image on the slowest known disks; then another machine is taken
    native_limit_s: int = 2700  # for a distribution's own installer, from its start to its end
    netboot_limit_s: int = 600  # firmware self-test and network boot on the slowest known servers
    first_boot_limit_s: int = 240  # from the hand-over to the phone-home, a firmware self-test included
    prove_limit_s: int = 120  # from the phone-home until SSH shows the host key
    leaf_limit_s: int = 900  # for the leaf to take a port away; the machine goes to quarantine then
    erase_limit_s: int = 86400  # overwriting a large disk takes hours
    newcomer_hear_s: int = 180  # for a machine at a free port to tell all of itself; most switches speak LLDP each 30 s
    newcomer_limit_s: int = 900  # for all that leads to its enrolment
    newcomer_burn_in_s: int = 600  # it is burnt in for so long before it is erased; 0: not
    newcomer_burn_in_parts: str = "cpu,memory,disk,network"
    # What it is called: the first of the schemes, divided by |, whose fields are all known, of {facility}, {rack},
    # {unit}, {leaf}, {port} and {serial}.
    machine_names: str = "{facility}-{rack}-{unit}|{leaf}-{port}"
    firmware_dir: str = ""  # folder of the firmware bundles that operators may run on machines; empty: none may be run
    cool_down_s: int = 3600  # before an address that came back is given out again
    rdap_provider: str = ""  # whose the space that no customer owns is, as RDAP tells it; empty: nobody is named
    rdap_abuse_email: str = ""  # where abuse is reported to, in every answer of RDAP; empty: nowhere
    dns_server: str = ""  # takes the updates of reverse zones, HOST or HOST:PORT (RFC 2136); empty: none are sent
    dns_key_name: str = ""  # of the TSIG key that updates are signed with (RFC 8945); empty: they are not signed
    dns_key_algorithm: str = "hmac-sha256"
    dns_key_secret: str = ""  # base64
    dns_nameservers: str = ""  # of reverse zones, separated by commas: zone files name them
    dns_hostmaster: str = ""  # e-mail address of whoever runs the reverse zones: zone files name it
    # The name of a device's address, of {hostname}, {address} (203-0-113-7), {facility} and {device}; empty: none.
    ptr_template: str = ""
    build_debian_mirror: str = ""  # archive that images are built of; empty: that of this machine's apt
    build_debian_security_mirror: str = ""  # empty: no security updates where build_debian_mirror is set
    build_debian_keyring: str = "/usr/share/keyrings/debian-archive-keyring.gpg"
    build_ubuntu_mirror: str = ""  # archive of Ubuntu, with updates and security; empty: Ubuntu cannot be built
    build_ubuntu_keyring: str = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
    build_centos_mirror: str = ""  # folder that has BaseOS and AppStream; empty: CentOS cannot be built
    build_centos_key: str = ""  # file of the key that CentOS's packages are signed with
    build_proxy: str = ""  # for the packages of images and for imported ones; empty: none of our own
    # Of the in-RAM installer and the images that share it: "server", or "cloud" for racks of virtual machines.
    build_kernel: str = "server"
    build_packages: str = ""  # that every image has beside its own, separated by commas
    hooks_dir: str = ""  # folder of the programs that operators' hooks may run; empty: none may be run
    hook_retry_s: float = 5.0  # before a delivery's second try; each pause is twice the one before, an hour at most
    hook_keep_days: int = 30  # what was delivered is shown for so long; dead letters stay
    hook_wait_s: int = 7200  # for hooks to say whether a machine may be erased or come to the pool
    webhook_limit_s: float = 10.0  # for the receiver of a customer's webhook to answer
    webhook_retries: int = 11  # tries after the first, some three hours, before an event is a dead letter
    webhook_disable_s: int = 259200  # a customer's webhook that nothing has reached for so long is disabled
    # Prefixes that are not public and that customers' webhooks may lead to all the same, separated by commas.
    webhook_networks: str = ""
    log_level: str = "info"


def image_keys_of(settings: Settings) -> PublicKeys:
    """The keys that releases must be signed by; none: they need not be. Raises BadSetting."""
    try:
        return public_keys(settings.image_keys)
    except BadKey as err:
        raise BadSetting(f"image_keys: {err}") from None


def images_of(settings: Settings) -> Path:
    """The folder of the image store."""
    return Path(settings.images_dir or settings.state_dir / "images")


def origins_of(settings: Settings) -> Origins:
    """Where the packages of images come from. Raises BadSetting."""
    return Origins(
        debian_mirror=settings.build_debian_mirror,
        debian_security_mirror=settings.build_debian_security_mirror,
        debian_keyring=settings.build_debian_keyring,
        ubuntu_mirror=settings.build_ubuntu_mirror,
        ubuntu_keyring=settings.build_ubuntu_keyring,
        centos_mirror=settings.build_centos_mirror,
        centos_key=settings.build_centos_key,
        proxy=settings.build_proxy,
        kernel=_kernel(settings.build_kernel),
        packages=tuple(listed(settings.build_packages)),
    )


def _kernel(name: str) -> Kernel:
    for known in KERNELS:
        if name == known:
            return known
    raise BadSetting(f"build_kernel: {name!r} is not one of {', '.join(KERNELS)}")


def _parsed(name: str, kind: Any, value: object) -> object:
    if kind in ("int", "float"):
        try:
            return int(str(value)) if kind == "int" else float(str(value))
        except ValueError:
            raise BadSetting(f"{name}: {value!r} is no {'whole ' if kind == 'int' else ''}number") from None
    return Path(str(value)) if kind == "Path" else str(value)


def listed(setting: str) -> list[str]:
    """The parts of a setting that is a list separated by commas."""
    return [part for part in (part.strip() for part in setting.split(",")) if part]


def read_settings(environment: Mapping[str, str] = os.environ, **given: object) -> Settings:
    """Settings from (rising in weight) defaults, TOML file, environment, and `given`. Raises BadSetting."""
    known = {field.name: field.type for field in fields(Settings)}
    values: dict[str, object] = {}
    if file := environment.get("ROUNDHOUSE_SETTINGS"):
        values |= tomllib.loads(Path(file).read_text(encoding="utf-8"))
    for name in known:
        if (value := environment.get(f"ROUNDHOUSE_{name.upper()}")) is not None:
            values[name] = value
        elif secret := environment.get(f"ROUNDHOUSE_{name.upper()}_FILE"):
            values[name] = Path(secret).read_text(encoding="utf-8").strip()
    values |= {name: value for name, value in given.items() if value is not None}
    for name in values:
        if name not in known:
            raise BadSetting(f"{name}: no such setting; known are {', '.join(sorted(known))}")
    return Settings(**{name: _parsed(name, known[name], value) for name, value in values.items()})  # type: ignore[arg-type]
