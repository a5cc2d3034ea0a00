"""Many processes at one store, and some that are killed: nothing that was published is lost, nothing wrong gets in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from images import store
from tests.images.http_store import BrokenServer, serving
from tests.images.test_replication import whole
from tests.images.test_store import made

_PUBLISH = """
import sys
from pathlib import Path
from images import store
root, number = Path(sys.argv[1]), sys.argv[2]
for count in range(8):
    # A folder of its own for drafts: two builders do not share theirs.
    source = root / f".draft-{number}"
    files = []
    for text in ("kernel", f"{number}-{count}", f"map {number}-{count}"):
        source.write_text(text)
        files.append(store.put_file(root, source))
    kernel, data, map_ = files
    image = store.StoredImage(data.file, data.sha256, data.bytes, 4096, map_)
    store.publish(root, store.Artefact("debian_12", f"{number}-{count}", "6.1", kernel, kernel, image))
"""
_COLLECT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from images.collection import Keep, collect
for _ in range(30):
    collect(Path(sys.argv[1]), Keep(), now=datetime.now(UTC))
"""
_SYNC = """
import sys
from pathlib import Path
from images.replication import sync
print("begun", flush=True)
sync(Path(sys.argv[1]), sys.argv[2])
"""


def _start(code: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True)


def test_publishers_and_a_collector_side_by_side(tmp_path: Path) -> None:
    processes = [_start(_PUBLISH, str(tmp_path), str(number)) for number in range(3)]
    processes.append(_start(_COLLECT, str(tmp_path)))
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    known = store.load_releases(tmp_path)["debian_12"]
    recipes = {release.recipe for release in known.releases.values()}
    assert recipes == {f"{number}-{count}" for number in range(3) for count in range(8)}
    assert known.serial == 24
    whole(tmp_path)


def test_a_transfer_that_is_killed_again_and_again_leaves_a_good_store(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for number in range(6):
        store.publish(theirs, made(theirs, str(number) * 3_000_000, f"slug_{number}"))
    with serving(BrokenServer(theirs)) as server:
        for pause_ms in range(0, 160, 16):
            process = _start(_SYNC, str(ours), server.url)
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(pause_ms / 1000)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
            if ours.exists():
                whole(ours)
        last = _start(_SYNC, str(ours), server.url)
        last.communicate(timeout=60)
        assert last.returncode == 0
    assert whole(ours) == whole(theirs)
    assert list((ours / "incoming").iterdir()) == []
