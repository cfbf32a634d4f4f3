"""A worker: loads the networks once and lifts one video after another. It knows nothing of Ray."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from posemamba_live.batch.jobs import Job, single_run
from posemamba_live.batch.options import RECORDED, shown
from posemamba_live.batch.receipt import Figures, Receipt, receipt_name
from posemamba_live.batch.storage import (
    Facts,
    facts,
    fetch,
    local_facts,
    missing,
    open_folder,
    writing_to,
)
from posemamba_live.batch.tables import DONE, FAILED, KEPT
from posemamba_live.errors import LiveError, SourceError, UsageError, describe
from posemamba_live.options import DeviceName, Options
from posemamba_live.plan import plan_run
from posemamba_live.shown import printable, safe
from posemamba_live.takes.journal_file import in_use

if TYPE_CHECKING:
    from posemamba_live.parts import Parts
    from posemamba_live.plan import RunPlan
    from posemamba_live.run.pipeline import Run

try:
    import fcntl
except ImportError:  # Windows: what killed workers leave in the folder for temporary files stays
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_PAUSE_S: Final = 0.005
"""Between two looks at whether a run has ended: as much as the end of a clip may wait."""
_SCRATCH: Final = "posemamba-batch-"
_LOCK: Final = "worker.lock"
_YOUNG_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job."""

    status: str
    """One of `tables`: done, kept or failed."""
    figures: Figures = field(default_factory=Figures)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """What all jobs of a worker have in common."""

    output: str
    exports: Sequence[str]
    """Suffixes."""
    record: bool
    shared: Options
    threads: int
    on_gpu: bool = False


class VideoWorker:
    """Lifts videos one after another, in one thread; `frames` may be asked by another.

    Args:
        work: what to do with each.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._folder = open_folder(work.output)
        self._parts: dict[int, Parts] = {}
        self._run: Run | None = None
        self._scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH))
        self._lock = _lock(self._scratch / _LOCK)
        _clear(self._scratch)

    def load(self) -> None:
        """Load the networks, so that the first video does not wait.

        Raises:
            LiveError: they cannot be used.
        """
        import cv2

        cv2.setNumThreads(self._work.threads)
        options = self._options(self._work.shared)
        self._loaded(options, self._plan(options, _Nothing()))

    def lift(self, job: Job) -> Outcome:
        """Lift a video and put its results in place. Whatever fails is told, not raised."""
        begun = time.monotonic()
        try:
            with self._room() as room:
                status, figures = self._lift(job, room)
        except Exception as error:
            logger.debug("%s failed", job.video.name, exc_info=error)
            seconds = round(time.monotonic() - begun, 3)
            return Outcome(FAILED, Figures(seconds=seconds), _sentence(error))
        finally:
            self._run = None
        return Outcome(status, figures)

    def frames(self) -> int:
        """How many frames of the current video are done."""
        run = self._run
        return run.stats.frames_out if run is not None else 0

    def close(self) -> None:
        """Free what was loaded."""
        for parts in self._parts.values():
            parts.detector.close()
        self._parts.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _lift(self, job: Job, room: Path) -> tuple[str, Figures]:
        begun = time.monotonic()
        before = facts(job.video.address)
        if before is None:
            raise missing(job.video.address)
        (room / "film").mkdir()
        film = fetch(job.video.address, room / "film")
        as_read = local_facts(film)
        sha256 = _checksum(film)
        if job.unsure and job.before is not None and job.before.sha256 == sha256:
            self._write(job, replace(job.before, input=before))
            return KEPT, job.before.figures
        files, figures = self._make(job, film, room)
        if local_facts(film) != as_read or facts(job.video.address) != before:
            raise SourceError(
                f"{shown(job.video.address)} changed while it was read",
                hint="start the batch again when it is complete",
            )
        figures = replace(
            figures,
            seconds=round(time.monotonic() - begun, 3),
            host=socket.gethostname(),
            worker=str(os.getpid()),
        )
        self._put(job, files, before, sha256, figures)
        return DONE, figures

    def _make(self, job: Job, film: Path, room: Path) -> tuple[list[Path], Figures]:
        """Lift a local film into files of the scratch folder."""
        from posemamba_live.sinks.exporter import NobodySeen
        from posemamba_live.sources import open_source
        from posemamba_live.wiring import prepare

        made = room / "made"
        made.mkdir()
        stem = PurePosixPath(job.video.name).name
        exports = [made / f"{stem}{suffix}" for suffix in self._work.exports]
        record = made / f"{stem}{RECORDED}" if self._work.record else None
        words = single_run(job, exports, record)
        # What the report says is read from an .npz, whether it is wanted or not.
        poses = next((path for path in exports if path.suffix == ".npz"), room / "poses.npz")
        wanted = exports if poses in exports else [*exports, poses]
        options = replace(
            self._options(job.options), source=str(film), exports=wanted, record=record,
            overwrite=True, command_line=words,
        )  # fmt: skip
        with open_source(
            str(film), start=options.start, end=options.end, max_frames=options.max_frames,
            rotate=options.rotate,
        ) as source:  # fmt: skip
            if source.live:
                raise UsageError(f"{shown(job.video.address)} is no film")
            plan = self._plan(options, source)
            parts = self._loaded(options, plan)
            self._run = run = prepare(options, plan, source, parts)
            result = run.run(lambda run: time.sleep(_PAUSE_S))
        if self._work.on_gpu and parts.runtime.device == "cpu":
            self._parts.pop(plan.people).detector.close()  # it failed: the next one tries anew
        errors = [e for e in result.errors if not isinstance(e.__cause__, NobodySeen)]
        if errors:
            for path in run.outputs.written:
                if made not in path.parents and path != poses:
                    path.unlink(missing_ok=True)  # a disk was full, and it went elsewhere
            raise errors[0]
        figures = _figures(poses, result.frames, plan.fps)
        return [path for path in run.outputs.written if made in path.parents], figures

    def _put(
        self, job: Job, files: Sequence[Path], now: Facts, sha256: str, figures: Figures
    ) -> None:
        """Put finished files in place, with the receipt before and after them."""
        parent = job.video.name.rpartition("/")[0]
        names = {f"{parent}/{path.name}" if parent else path.name: path for path in files}
        sizes = {name: path.stat().st_size for name, path in names.items()}
        receipt = Receipt(job.settings, now, sha256, sizes, figures)
        old = dict(job.before.files) if job.before is not None else {}
        # Until all is there, neither the old files count nor the new ones, and both are ours.
        self._write(job, replace(receipt, files={**old, **sizes}, complete=False))
        with writing_to(self._work.output):
            for name, path in names.items():
                self._folder.put(path, name)
            for name in old.keys() - names.keys():
                self._folder.remove(name)
        self._write(job, receipt)

    def _write(self, job: Job, receipt: Receipt) -> None:
        with writing_to(self._work.output):
            self._folder.write(receipt.to_json(), receipt_name(job.video.name))

    def _options(self, options: Options) -> Options:
        device = options.device
        if device is DeviceName.AUTO and not self._work.on_gpu:
            device = DeviceName.CPU  # a GPU that nobody has reserved is somebody else's
        return replace(options, device=device, threads=self._work.threads)

    def _plan(self, options: Options, source: object) -> RunPlan:
        """As a run alone plans it, with this worker's share of the machine."""
        plan = plan_run(options, source)  # type: ignore[arg-type]
        return replace(plan, detector_threads=self._work.threads)

    def _loaded(self, options: Options, plan: RunPlan) -> Parts:
        """The parts of a run, of networks that were loaded before wherever that may be."""
        from posemamba_live.detectors import TopDown
        from posemamba_live.parts import build

        again = self._parts.get(plan.people)
        if again is not None and not isinstance(again.detector, TopDown):
            again.detector.close()  # such a model may still follow those of the last video
            again = None
        parts = self._parts[plan.people] = build(options, plan, again)
        return parts

    @contextlib.contextmanager
    def _room(self) -> Iterator[Path]:
        """A folder for one job."""
        room = Path(tempfile.mkdtemp(dir=self._scratch))
        try:
            yield room
        finally:
            shutil.rmtree(room, ignore_errors=True)


class _Nothing:
    """What networks are loaded for before there is a film."""

    name = ""
    live = False
    fps = 30.0
    size = (640, 360)
    frame_count = None


def _figures(poses: Path, frames: int, fps: float) -> Figures:
    import numpy as np

    with np.load(poses, allow_pickle=False) as arrays:
        indices, people = arrays["frame_index"], arrays["person_id"]
    seen = len(np.unique(indices)) / frames if frames else 0.0
    return Figures(frames, len(np.unique(people)), len(indices), float(fps), round(seen, 4))


def _checksum(path: Path) -> str:
    if not path.is_file():
        return ""  # a folder of pictures
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def _sentence(error: Exception) -> str:
    """What, why and what to try, for one line of a table."""
    if isinstance(error, LiveError):
        told = f"{error.what}: {error.why}" if error.why else error.what
        text = f"{told}; {error.hint}" if error.hint else told
    else:
        text = describe(error).replace("\n", "; ")
    return printable(safe(text))


def _lock(path: Path) -> int | None:
    """Take a lock that ends with this process."""
    if fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _clear(own: Path) -> None:
    """Delete the scratch folders of workers of this machine that were killed."""
    if fcntl is None:
        return
    for folder in own.parent.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):
            status = folder.stat()
            ours = status.st_uid == os.getuid() and folder != own
            if ours and time.time() - status.st_mtime > _YOUNG_S and not in_use(folder / _LOCK):
                shutil.rmtree(folder, ignore_errors=True)
