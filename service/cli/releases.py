"""`roundhouse image releases|rollout|rollouts|stop-rollout`: what becomes of releases, as the service counts it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from service.cli.client import CallFailed, Client
from service.cli.command import Command
from service.cli.output import EMPTY, FULL, Column, Object, Output

_BAR = 16


def _state(one: Object) -> str:
    rollout = one["rollout"]
    if one["fault"]:
        return "out of service"
    if one["current"]:
        return "current"
    return f"rolled out, {rollout['percent']} %" if rollout and rollout["release"] == one["id"] else "-"


def _count(name: str) -> Column:
    return name.upper().replace("_", " "), lambda one: (one["installs"] or {}).get(name, 0)


def _time(name: str, title: str) -> Column:
    def shown(one: Object) -> str:
        value = (one["installs"] or {}).get(name)
        return "-" if value is None else f"{value:.1f} s"

    return title, shown


def _bar(one: Object) -> str:
    """p50 filled, p99 as far as the bar goes, on the scale of the slowest release of the slug."""
    p50, p99, slowest = ((one["installs"] or {}).get("p50_s"), (one["installs"] or {}).get("p99_s"), one["slowest_s"])
    if p50 is None or p99 is None or not slowest:
        return ""
    filled, whole = round(_BAR * p50 / slowest), max(1, round(_BAR * p99 / slowest))
    return f"{FULL * min(filled, whole)}{EMPTY * (whole - min(filled, whole))}"


RELEASES: list[Column] = [
    ("SLUG", "slug"),
    ("RELEASE", "id"),
    ("STATE", _state),
    ("PUBLISHED", "published_at"),
    ("MIB", lambda one: one["bytes"] >> 20),
    ("TESTED", lambda one: list(one["tested"])),
    ("SIGNED BY", "signed_by"),
    _count("active"),
    _count("failed"),
    _count("not_begun"),
    _count("running"),
    _time("p50_s", "P50"),
    _time("p99_s", "P99"),
    ("", _bar),
]
ROLLOUTS: list[Column] = [
    ("SLUG", "slug"),
    ("RELEASE", "release"),
    ("BEFORE", "baseline"),
    ("STATE", "state"),
    ("PERCENT", "percent"),
    ("PLANS", lambda one: one["plans"] or "all"),
    ("BEGUN", "started_at"),
    ("ENDED", "ended_at"),
    ("REASON", "reason"),
]


def _rows(slugs: list[Object], wanted: str | None) -> Iterator[Object]:
    for known in slugs:
        if wanted in (None, known["slug"]):
            slowest = max(((one["installs"] or {}).get("p99_s") or 0.0 for one in known["releases"]), default=0.0)
            for one in known["releases"]:
                yield one | {"slug": known["slug"], "rollout": known["rollout"], "slowest_s": slowest}


def list_releases(args: Namespace, client: Client, out: Output) -> int:
    """List releases with how their installs of the last thirty days went."""
    out.rows(_rows(client.get("/admin/v1/releases")["slugs"], args.slug), RELEASES)
    return 0


def begin_rollout(args: Namespace, client: Client, out: Output) -> int:
    """Give a release to some of a hundred orders, and by itself to more and more, or to none again."""
    given = {"plans": args.plan, "percent": args.percent, "enough": args.enough}
    body = {"slug": args.slug, "release": args.release, **{name: value for name, value in given.items() if value}}
    out.one(client.post("/admin/v1/rollouts", body), ROLLOUTS)
    return 0


def list_rollouts(args: Namespace, client: Client, out: Output) -> int:
    """List rollouts with what was decided last and why."""
    out.rows(client.get("/admin/v1/rollouts", slug=args.slug)["rollouts"], ROLLOUTS)
    return 0


def stop_rollout(args: Namespace, client: Client, out: Output) -> int:
    """Stop the rollout of a slug: orders get the release before from now on."""
    running = client.get("/admin/v1/rollouts", slug=args.slug)["rollouts"]
    found = next((one for one in running if one["state"] == "running"), None)
    if found is None:
        raise CallFailed(f"no rollout of {args.slug} is running")
    out.one(client.post(f"/admin/v1/rollouts/{found['id']}/stop", {"reason": args.reason}), ROLLOUTS)
    return 0


def _slug(parser: ArgumentParser) -> None:
    parser.add_argument("slug", nargs="?", metavar="SLUG", help="only of this one")


def _begin(parser: ArgumentParser) -> None:
    parser.add_argument("slug", metavar="SLUG")
    parser.add_argument("release", metavar="RELEASE")
    parser.add_argument("--plan", action="append", metavar="SLUG", help="only orders of this plan; may be repeated")
    parser.add_argument("--percent", type=int, help="of the orders that get it at first (5)")
    parser.add_argument("--enough", type=int, help="installs that must succeed at one percentage before the next (10)")


def _stop(parser: ArgumentParser) -> None:
    parser.add_argument("slug", metavar="SLUG")
    parser.add_argument("--reason", default="", help="for the record")


COMMANDS = (
    Command("image", "releases", list_releases, _slug),
    Command("image", "rollout", begin_rollout, _begin),
    Command("image", "rollouts", list_rollouts, _slug),
    Command("image", "stop-rollout", stop_rollout, _stop),
)
