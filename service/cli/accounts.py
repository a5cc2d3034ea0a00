"""`roundhouse project`, `key`"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from service.cli.client import Client, escaped
from service.cli.command import Command
from service.cli.devices import project_of
from service.cli.output import Column, Output

PROJECTS: list[Column] = [
    ("ID", "id"),
    ("NAME", "name"),
    ("DEVICES", lambda project: len(project["devices"])),
    ("TAGS", "tags"),
    ("CREATED", "created_at"),
]
KEYS: list[Column] = [
    ("ID", "id"),
    ("LABEL", "label"),
    ("TYPE", lambda key: key["key"].split()[0]),
    ("FINGERPRINT", "fingerprint"),
    ("CREATED", "created_at"),
]


def list_projects(args: Namespace, client: Client, out: Output) -> int:
    """List projects."""
    out.rows(client.every("/projects", "projects", name=args.name), PROJECTS)
    return 0


def create_project(args: Namespace, client: Client, out: Output) -> int:
    """Make a project."""
    out.one(client.post("/projects", {"name": args.name, "tags": args.tag or []}), PROJECTS)
    return 0


def delete_project(args: Namespace, client: Client, out: Output) -> int:
    """Remove a project that has no devices."""
    id_ = project_of(args, client)
    client.delete(f"/projects/{id_}")
    out.done({"id": id_}, f"project {id_} is deleted")
    return 0


def list_keys(args: Namespace, client: Client, out: Output) -> int:
    """List the user's SSH keys, or a project's."""
    path = f"/projects/{project_of(args, client)}/ssh-keys" if args.project else "/ssh-keys"
    out.rows(client.get(path, search=args.search)["ssh_keys"], KEYS)
    return 0


def add_key(args: Namespace, client: Client, out: Output) -> int:
    """Add an SSH key to the user, or to a project."""
    path = f"/projects/{project_of(args, client)}/ssh-keys" if args.project else "/ssh-keys"
    text = Path(args.file).read_text(encoding="utf-8")
    words = text.split()
    label = args.label or (words[2] if len(words) > 2 else Path(args.file).stem)
    out.one(client.post(path, {"label": label, "key": text}), KEYS)
    return 0


def delete_key(args: Namespace, client: Client, out: Output) -> int:
    """Remove an SSH key; devices keep the keys that they were ordered with."""
    client.delete(f"/ssh-keys/{escaped(args.key)}")
    out.done({"id": args.key}, f"SSH key {args.key} is deleted")
    return 0


def _named(parser: ArgumentParser) -> None:
    parser.add_argument("--name")


def _creating(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--tag", action="append")


def _deleting(parser: ArgumentParser) -> None:
    parser.add_argument("project", metavar="PROJECT", help="id or name")
    parser.add_argument("--yes", action="store_true")


def _keys(parser: ArgumentParser) -> None:
    parser.add_argument("--project", help="id or name of the project whose keys are meant")
    parser.add_argument("--search")


def _adding(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a public key, ~/.ssh/id_ed25519.pub for one")
    parser.add_argument("--label", help="default: the key's comment")
    parser.add_argument("--project", help="id or name of the project that gets the key")


def _removing(parser: ArgumentParser) -> None:
    parser.add_argument("key", metavar="ID")
    parser.add_argument("--yes", action="store_true")


COMMANDS = (
    Command("project", "list", list_projects, _named),
    Command("project", "create", create_project, _creating),
    Command("project", "delete", delete_project, _deleting, destroys=True),
    Command("key", "list", list_keys, _keys),
    Command("key", "add", add_key, _adding),
    Command("key", "delete", delete_key, _removing, destroys=True),
)
