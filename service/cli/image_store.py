"""`roundhouse image keygen|sign|verify|promote|sync|collect`: what is done to the store of this host itself."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from images import signing, store
from images.collection import Keep, collect
from images.replication import PeerFailed, sync
from images.store import StoreError
from service.cli.client import CallFailed, Client, environment
from service.cli.output import warn
from service.settings import BadSetting, Settings, image_keys_of, images_of, read_settings

_DEFAULT_API = "http://127.0.0.1:8080"
_FOR_EVER = timedelta(days=365_000)
_TOLD = (BadSetting, StoreError, PeerFailed, CallFailed, signing.BadKey, signing.NotSigned, OSError)


@dataclass(frozen=True, slots=True)
class _Verb:
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace, Settings, Path], int]


def add_arguments(parser: ArgumentParser) -> None:
    """Those of the verb that the parser is for."""
    _VERBS[parser.prog.rpartition(" ")[2]].arguments(parser)
    parser.add_argument("--images", type=Path, help="the store (default: images_dir, then var/images)")


def run(arguments: Namespace) -> int:
    """Carry it out; the exit code."""
    try:
        settings = read_settings()
        return _VERBS[arguments.verb].run(arguments, settings, (arguments.images or images_of(settings)).resolve())
    except _TOLD as err:
        warn(f"roundhouse image {arguments.verb}: {err}")
        return 1


def _keygen(arguments: Namespace, _settings: Settings, _root: Path) -> int:
    print(signing.make_key(arguments.file))
    return 0


def _sign(arguments: Namespace, _settings: Settings, root: Path) -> int:
    private = signing.private_key(arguments.key)
    release = store.release(root, arguments.slug, arguments.release)
    signatures = signing.sign(private, release)
    store.annotate(root, release.slug, arguments.release or release.id, signatures=signatures)
    print(f"{release.slug} release {release.id} is signed by {', '.join(signatures)}")
    return 0


def _verify(arguments: Namespace, settings: Settings, root: Path) -> int:
    """Read every file of every release; keys count where the settings name some."""
    keys, wrong, right = image_keys_of(settings), 0, set[str]()
    known = store.load_releases(root)
    if unknown := [slug for slug in arguments.slug if slug not in known]:
        raise StoreError(f"{root} has no {', '.join(unknown)}; it has {', '.join(known) or 'nothing'}")
    for slug in arguments.slug or known:
        for name, release in known[slug].releases.items():
            said = f"{slug} {name}{' (current)' if name == known[slug].current else ''}"
            try:
                for stored in release.files.values():
                    if stored.sha256 not in right:
                        store.verify(root, stored)
                        right.add(stored.sha256)
                by = f", signed by {signing.check(keys, release)}" if keys else ""
                print(f"{said}: {len(release.files)} files are right{by}")
            except (StoreError, signing.NotSigned) as err:
                wrong += 1
                print(f"{said}: {err}")
    return 1 if wrong else 0


def _promote(arguments: Namespace, _settings: Settings, root: Path) -> int:
    store.promote(root, arguments.slug, arguments.release)
    print(f"{arguments.slug}: release {arguments.release} is current")
    return 0


def _sync(arguments: Namespace, settings: Settings, root: Path) -> int:
    slugs = arguments.slug or None
    found = sync(root, arguments.source, slugs=slugs, keys=image_keys_of(settings), parallel=arguments.parallel)
    for slug, name in found.releases:
        print(f"{slug}: release {name} came{', and is current' if (slug, name) in found.current else ''}")
    for slug, name in set(found.current) - set(found.releases):
        print(f"{slug}: release {name} is current")
    print(f"{found.bytes >> 20} MiB of files came")
    for sentence in found.told:
        warn(f"roundhouse image sync: {sentence}")
    return 1 if found.told else 0


def _collect(arguments: Namespace, _settings: Settings, root: Path) -> int:
    """Without a token nobody can tell what devices need: no release goes then, only files that none refers to."""
    if token := environment("TOKEN"):
        client = Client(arguments.api or environment("API") or _DEFAULT_API, token)
        wanted = client.get("/admin/v1/releases/referred-to")["releases"]
        keep = Keep(newest=arguments.keep, younger=timedelta(days=arguments.days), wanted=wanted)
    else:
        warn("roundhouse image collect: no ROUNDHOUSE_TOKEN to ask the service what is needed: all releases are kept")
        keep = Keep(younger=_FOR_EVER)
    found = collect(root, keep, now=datetime.now(UTC), dry_run=arguments.dry_run)
    for slug, name in found.releases:
        print(f"{slug}: release {name}")
    verb = "would be" if arguments.dry_run else "were"
    print(f"{len(found.releases)} releases and {len(found.files)} files, {found.bytes >> 20} MiB, {verb} removed")
    return 0


def _file(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="where the private key goes; the public one is printed")


def _release(parser: ArgumentParser) -> None:
    parser.add_argument("slug", metavar="SLUG")
    parser.add_argument("release", metavar="RELEASE")


def _signed(parser: ArgumentParser) -> None:
    parser.add_argument("slug", metavar="SLUG")
    parser.add_argument("release", nargs="?", metavar="RELEASE", help="default: the current one")
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="the private key")


def _slugs(parser: ArgumentParser) -> None:
    parser.add_argument("slug", nargs="*", metavar="SLUG", help="only these")


def _from(parser: ArgumentParser) -> None:
    _slugs(parser)
    parser.add_argument("--from", dest="source", required=True, metavar="URL", help="of the other store's folder")
    parser.add_argument("--parallel", type=int, default=4, help="files at a time (4)")


def _kept(parser: ArgumentParser) -> None:
    parser.add_argument("--keep", type=int, default=5, metavar="N", help="releases of each slug that stay (5)")
    parser.add_argument("--days", type=int, default=30, help="and those that are younger (30)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


_VERBS = {
    "keygen": _Verb(_file, _keygen),
    "sign": _Verb(_signed, _sign),
    "verify": _Verb(_slugs, _verify),
    "promote": _Verb(_release, _promote),
    "sync": _Verb(_from, _sync),
    "collect": _Verb(_kept, _collect),
}
