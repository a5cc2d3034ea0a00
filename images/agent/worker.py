"""One piece of work: carried out, reported while it runs, its end told."""

from __future__ import annotations

import threading
import time

from images.agent import wire
from images.agent.errors import SessionEnded, WorkDropped, WorkFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from images.agent.session import Session
    from images.protocol import BurnInSpec, EraseSpec, FirmwareSpec, Handover, InstallSpec, RescueSpec, Work


class Reporter:
    """Sends the latest progress in the background: a slow service never holds up the disk."""

    def __init__(self, service: Session, work: str) -> None:
        self._service, self._work = service, work
        self._latest: dict[str, Any] | None = None
        self._ended: Exception | None = None
        self._news = threading.Condition()
        self._open = True
        self._stage, self._since, self._first, self._said = "", 0.0, 0, ""
        self._thread = threading.Thread(target=self._send, name="report", daemon=True)
        self._thread.start()

    def __call__(
        self,
        stage: str,
        done: int,
        total: int,
        *,
        percent: float | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Note where the work is, in bytes; `percent` where that is no matter of bytes, `result` what is known already.

        Raises SessionEnded or WorkDropped when the service has said so meanwhile.
        """
        if percent is None:
            percent = round(100 * done / total, 1) if total else 0.0
        rate = self._rate(stage, done)
        message = f"{stage}: {percent} %" if total or percent else stage
        message += f", {rate / 1e6:.1f} MB/s" if rate else ""
        if message != self._said:
            self._said = message
            print(f"roundhouse: {message}", flush=True)
        report = {
            "stage": stage,
            "percent": percent,
            "bytes_done": done,
            "bytes_total": total,
            "bytes_per_s": rate,
            "message": message,
        }
        if result is not None:
            report["result"] = result
        with self._news:
            if self._ended is not None:
                raise self._ended
            self._latest = report
            self._news.notify()

    def _rate(self, stage: str, done: int) -> int:
        """Bytes a second since this stage began; 0 where it has just done so."""
        now = time.monotonic()
        if stage != self._stage or done < self._first:
            self._stage, self._since, self._first = stage, now, done
        return round((done - self._first) / (now - self._since)) if now - self._since > 0.5 else 0

    def close(self) -> None:
        """Send what is left and stop."""
        with self._news:
            self._open = False
            self._news.notify()
        self._thread.join(15)

    def _send(self) -> None:
        while True:
            with self._news:
                while self._latest is None and self._open:
                    self._news.wait()
                report, self._latest = self._latest, None
            if report is None:
                return
            try:
                self._service.progress(self._work, report)
            except wire.WireError:
                continue  # the next report says more
            except (SessionEnded, WorkDropped) as err:
                with self._news:
                    self._ended = err
                return


def carry_out(service: Session, work: Work, console: Sequence[str]) -> Handover | None:
    """Do one piece of work and tell its end; how to leave the installer, or None to ask for more work.

    A failure is told and is no reason to reboot: the machine stays reachable and waits for what is decided about it.
    Raises SessionEnded, WorkDropped.
    """
    report = Reporter(service, work["id"])
    try:
        result, way = _do(work, report, console)
    except (SessionEnded, WorkDropped):
        raise
    except Exception as err:
        import traceback

        traceback.print_exc()
        report.close()
        stage = err.stage if isinstance(err, WorkFailed) else str(work["kind"])
        service.failed(work["id"], stage, str(err) or type(err).__name__)
        return None
    finally:
        report.close()
    service.done(work["id"], result)
    return way


def _do(work: Work, report: Reporter, console: Sequence[str]) -> tuple[Mapping[str, Any], Handover | None]:
    # Imported here: a machine that only waits needs neither, and they are half of the agent's start.
    if work["kind"] == "install":
        from images.agent.install import install

        install_spec: InstallSpec = work["spec"]  # type: ignore[assignment]
        installed = install(install_spec, report, console)
        return installed, installed["handover"]
    if work["kind"] == "erase":
        from images.agent.erase import erase

        erase_spec: EraseSpec = work["spec"]  # type: ignore[assignment]
        return erase(erase_spec, report), None
    if work["kind"] == "burn_in":
        from images.agent.burn import burn_in

        burn_spec: BurnInSpec = work["spec"]  # type: ignore[assignment]
        return burn_in(burn_spec, report), None
    if work["kind"] == "rescue":
        from images.agent.rescue import rescue

        rescue_spec: RescueSpec = work["spec"]  # type: ignore[assignment]
        return rescue(rescue_spec, report), None
    if work["kind"] == "firmware":
        from images.agent.firmware import run_bundle

        firmware_spec: FirmwareSpec = work["spec"]  # type: ignore[assignment]
        return run_bundle(firmware_spec, report), None
    if work["kind"] == "reboot":
        return {}, "reboot"
    raise WorkFailed("choosing", f"this installer knows no work of the kind {work['kind']!r}")
