"""The in-RAM installer: an initramfs of busybox, a bare Python with the agent, and a few disk tools."""

from __future__ import annotations

import ast
import contextlib
import json
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from images import store
from images.build import apt, cpio, first_stage, modules, toolbox
from images.build.architecture import AMD64, Architecture, Root
from images.build.host import BuildError, Steps, apt_sources, candidates, recipe, require, run
from images.build.toolbox import place

CODENAME = "bookworm"
_PACKAGES = ("busybox-static", "python3-minimal", "python3.11", "libzstd1", "fdisk", "e2fsprogs", "kexec-tools")
# Of the section non-free-firmware, which not every site's apt has; some network cards do not work without.
_FIRMWARE = ("firmware-bnx2", "firmware-bnx2x", "firmware-qlogic", "firmware-netronome", "firmware-misc-nonfree")
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "zstd": "zstd",
    "chroot": "coreutils",
    "apt-get": "apt",
    "dpkg": "dpkg",
}

_HERE = Path(__file__).parent
_AGENT = _HERE.parent / "agent"
_CHUNKS = _HERE.parent / "chunks.py"  # which the agent reads, too
_SOURCES = (
    *("architecture.py", "cpio.py", "first_stage.py", "init.sh", "installer.py", "modules.py", "toolbox.py"),
    "udhcpc.sh",
)
_PROGRAMS = {
    "sfdisk": "sbin/sfdisk",
    "resize2fs": "sbin/resize2fs",
    "kexec": "sbin/kexec",
    "python3": "usr/bin/python3.11",
}
_APPLETS = (
    *("sh", "cat", "chroot", "cpio", "dmesg", "env", "find", "ip", "kill", "ls", "mkdir", "modprobe", "rm"),
    *("mount", "poweroff", "ps", "reboot", "sleep", "sort", "switch_root", "sync", "tar", "tr", "udhcpc", "umount"),
)
_LIBRARIES = ("libzstd.so.1",)  # opened by the agent at run time
_PYTHON = "usr/lib/python3.11"
_ROOT = "initramfs"  # where the initramfs is gathered, in the tree of the packages
# What the agent imports; asked of the very interpreter that will run it.
_PROBE = """
import importlib, json, os, sys
import encodings.ascii, encodings.latin_1, encodings.utf_8
for name in sys.argv[1:]:
    importlib.import_module(name)
specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
found = {spec.origin for spec in specs if spec and spec.has_location}
found.add(os.__file__)  # frozen into the interpreter, which still looks for the file to find its library
print(json.dumps(sorted(found)))
"""
# Optimised to drop the docstrings; unchecked, for there is no source to compare with.
_COMPILE = """
import py_compile, sys
for source, target, name in zip(*[iter(sys.argv[1:])] * 3):
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(source, target, name, doraise=True, optimize=2, invalidation_mode=mode)
"""


def build(out: Path, architecture: Architecture = AMD64) -> store.Artefact:
    """Build the installer into the store at `out`, or return it when nothing has changed. Raises BuildError.

    With it come the first-stage files that this machine's packages have not.
    """
    require(TOOLS)
    sources = [*_AGENT.glob("*.py"), _CHUNKS, *(_HERE / name for name in _SOURCES)]
    packages = {*_PACKAGES, *toolbox.PACKAGES, architecture.kernel_package, *first_stage.packages(architecture)}
    steps = Steps(architecture.slug)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=_made(out)) as work:
        scratch = Path(work)
        options = apt.options(architecture, scratch / "apt")
        if "cloud" not in architecture.kernel_package:
            packages |= _known(_FIRMWARE, options)
        wanted = recipe(sources, packages, options)
        known = store.current(out, architecture.slug, wanted)
        if known and first_stage.complete(out, architecture):
            return known
        first_stage.collect(out, architecture, options, scratch)
        system = _extract(scratch, architecture, packages - first_stage.packages(architecture), steps)
        kernel, initrd, release = _pack(system, scratch, steps)
        steps("packing the toolbox")
        tools = toolbox.pack(system, system.tree / _ROOT, scratch)
        artefact = store.Artefact(
            slug=architecture.slug,
            recipe=wanted,
            kernel_release=release,
            kernel=store.put_file(out, kernel),
            initrd=store.put_file(out, initrd),
            image=None,
            toolbox=store.put_file(out, tools),
        )
    store.publish(out, artefact)
    sizes = (artefact.kernel, artefact.initrd, artefact.toolbox)
    steps("done: kernel {:,}, initrd {:,}, toolbox {:,} bytes".format(*(file.bytes for file in sizes if file)))
    return artefact


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _known(packages: Iterable[str], apt_options: Sequence[str]) -> set[str]:
    """Those that apt has."""
    found: set[str] = set()
    for package in packages:
        with contextlib.suppress(BuildError):
            found |= candidates([package], apt_options).keys()
    return found


def _extract(scratch: Path, architecture: Architecture, packages: Iterable[str], steps: Steps) -> Root:
    """Unpack the installer's packages, with all that they depend on, without running any of their scripts."""
    steps("unpacking the installer's packages")
    tree, sources = scratch / "installer", scratch / "sources.list"
    sources.write_text(apt_sources(CODENAME), encoding="utf-8")
    include = ",".join(sorted(packages))
    run(
        [
            *("mmdebstrap", "--mode=root", "--variant=extract", f"--architectures={architecture.debian}"),
            *(f"--include={include}", CODENAME, tree, sources),
        ]
    )
    return Root(tree, architecture)


def _pack(system: Root, scratch: Path, steps: Steps) -> tuple[Path, Path, str]:
    """Make the initramfs of what `system` has: the kernel and the initramfs, both in `scratch`, and the release."""
    steps("choosing the installer's files")
    tree = system.tree
    root = tree / _ROOT
    for folder in ("bin", "dev", "etc", "mnt", "proc", "run", "sys", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copyfile(tree / "bin/busybox", root / "bin/busybox")
    (root / "sbin").symlink_to("bin")  # where the kernel looks for modprobe
    for applet in _APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    needed = {f"/{path}" for path in _PROGRAMS.values()} | _python(system, root)
    for name, path in _PROGRAMS.items():
        shutil.copyfile(tree / path, root / "bin" / name)
    library_folder = next(tree.glob("usr/lib/*-linux-gnu"))
    libraries = system.libraries(needed)
    for name in _LIBRARIES:
        libraries[name] = library_folder / name
    for name, library in libraries.items():
        # One folder for all: the loader looks in /lib whatever path the distribution used.
        place(library, root / "lib" / name)
    loader = system.architecture.loader.lstrip("/")
    place(tree / loader, root / loader)  # found by its path, which each program names
    for name in ("init", "bin/udhcpc.sh"):
        shutil.copyfile(_HERE / f"{Path(name).name.removesuffix('.sh')}.sh", root / name)
    for program in [*(root / "bin").iterdir(), root / loader, root / "init"]:
        if not program.is_symlink():
            program.chmod(0o755)
    # A controller's driver has found its disks when it is loaded: nobody looks for disks too early.
    (root / "etc/modprobe.d").mkdir()
    (root / "etc/modprobe.d/scsi.conf").write_text("options scsi_mod scan=sync\n", encoding="ascii")
    release = modules.collect(system, root)
    steps("packing the initramfs")
    console = cpio.Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))  # the kernel opens it for /init
    archive, initrd, kernel = scratch / "initrd.cpio", scratch / "initrd", scratch / "kernel"
    archive.write_bytes(cpio.encode([*cpio.walk(root), console]))
    run(["zstd", "-q", "-19", "-T0", archive, "-o", initrd])
    shutil.copyfile(tree / "boot" / f"vmlinuz-{release}", kernel)
    return kernel, initrd, release


def imported(sources: Iterable[Path]) -> set[str]:
    """The modules that these sources import, also those inside functions, which a start of the agent does not load."""
    return {name for source in sources for name in _imports(ast.parse(source.read_text(encoding="utf-8")))}


def _imports(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
        yield from _imports(child)


def _python(system: Root, root: Path) -> set[str]:
    """Put the agent and the modules that it imports, compiled, below `root`; the extension modules among them."""
    tree = system.tree
    package = tree / _PYTHON / "images"
    for source in (_AGENT.parent / "__init__.py", _CHUNKS):
        place(source, package / source.name)
    for source in sorted(_AGENT.glob("*.py")):
        place(source, package / "agent" / source.name)
    python = ("/usr/bin/python3.11", "-I", "-S", "-E")
    names = sorted(
        imported((_CHUNKS, *_AGENT.glob("*.py"))) | {f"images.agent.{one.stem}" for one in _AGENT.glob("*.py")}
    )
    found: list[str] = json.loads(system.run([*python, "-c", _PROBE, *names]))
    triples = []
    for origin in found:
        if origin.endswith(".py"):
            triples += [origin, f"/compiled{origin}c", origin]
        else:
            place(tree / origin[1:], root / origin[1:])
    system.run([*python, "-c", _COMPILE, *triples])
    shutil.copytree(tree / "compiled/usr", root / "usr", dirs_exist_ok=True)
    return {origin for origin in found if not origin.endswith(".py")}
