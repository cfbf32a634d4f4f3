"""The part of Ray that a batch needs: started here or joined, and what it has."""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from posemamba_live.errors import LiveError

logger = logging.getLogger(__name__)

_STORE_BYTES: Final = 80 * 2**20
"""Of the object store, about the least that Ray takes: nothing goes through it but results."""
_LOOPBACK: Final = "127.0.0.1"
_GOODBYE_S: Final = 3.0
_BESIDE: Final = "beside"
_TRIES: Final = 3
"""To get in through Ray's client: its server forks while gRPC's threads run, and may hang."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What is wanted of Ray."""

    address: str | None = None
    """Of a cluster; None starts Ray on this machine."""
    workers: int | None = None
    """None for as many as there is room for."""
    cpus: int = 1
    gpus: float = 0.0
    """For each worker."""
    dashboard: bool = False
    verbose: bool = False


class Cluster:
    """Ray, from `__enter__` to `__exit__`.

    Args:
        needs: see there.

    Raises:
        LiveError: on entering: Ray is not installed, or there is no such cluster.
    """

    Lost: type[Exception] | tuple[type[Exception], ...]
    """What `value` raises where a worker has gone."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._ray: Any = None

    def __enter__(self) -> Cluster:
        self._ray = ray = import_ray()
        lost = ray.exceptions
        # A worker that cannot be reached may come back; what it was at has another by then.
        self.Lost = (lost.RayActorError, lost.WorkerCrashedError, lost.NodeDiedError,
                     lost.ObjectLostError, lost.OutOfMemoryError)  # fmt: skip
        needs = self._needs
        said: dict[str, Any] = {
            "log_to_driver": needs.verbose,
            "logging_level": logging.INFO if needs.verbose else logging.ERROR,
        }
        if needs.address is None:
            said |= {
                "address": "local",
                "num_cpus": self._local_cpus(),
                "include_dashboard": needs.dashboard,
                "dashboard_host": _LOOPBACK,
                "object_store_memory": _STORE_BYTES,
            }
        else:
            said["address"] = needs.address
            if needs.address.startswith("ray://"):
                _show_token()
        try:
            with _signals_as_they_were():
                self._join(said)
        except Exception as error:
            where = f"the cluster at {needs.address}" if needs.address else "Ray"
            raise LiveError(
                f"Cannot {'join' if needs.address else 'start'} {where}",
                why=f"{type(error).__name__}: {error}",
                hint="ray status, on one of its machines, says whether it is there; versions of "
                "Ray and Python must be the same everywhere"
                if needs.address
                else "-v shows what Ray says",
            ) from error
        return self

    def _join(self, said: dict[str, Any], tries: int = _TRIES) -> None:
        """Start Ray, or join. The door for clients fails now and then, and opens the next time."""
        try:
            self._ray.init(**said)
        except ConnectionAbortedError:
            if tries == 1:
                raise
            logger.info("the cluster's server of clients did not start; once more")
            self._ray.shutdown()
            self._join(said, tries - 1)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # It may hang where the cluster does not answer any more.
        goodbye = threading.Thread(target=self._leave, daemon=True)
        goodbye.start()
        goodbye.join(_GOODBYE_S)

    def room(self) -> int:
        """Workers that are wanted, or that all nodes together have room for.

        Raises:
            LiveError: there is none, and nobody said how many to wait for.
        """
        if self._needs.workers is not None:
            return self._needs.workers
        nodes = self._nodes()
        count = sum(self._fitting(node["Resources"]) for node in nodes)
        if not count:
            what = f"{self._needs.cpus} cores"
            if self._needs.gpus:
                what += f" and {self._needs.gpus:g} GPUs"
            raise LiveError(
                "There is no room for a worker",
                why=f"no node of {len(nodes)} has {what}",
                hint="fewer --cpus-per-worker; --workers N waits for nodes that are still to come",
            )
        return count

    def nodes(self) -> set[str]:
        """Those that are there."""
        return {node["NodeID"] for node in self._nodes()}

    def actor(self, kind: type, *arguments: Any) -> Any:
        """A new actor with the share of a worker; it waits where there is no room yet."""
        made = self._ray.remote(
            num_cpus=self._needs.cpus,
            num_gpus=self._needs.gpus,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={_BESIDE: 1},
        )(kind)
        return made.remote(*arguments)

    def beside(self, method: Any) -> Any:
        """A method of an actor, to be run beside what the actor is at.

        Ray's client (`ray://`) cannot ask for that: through it the method waits for its turn.
        """
        try:
            return method.options(concurrency_group=_BESIDE)
        except ValueError:
            return method

    def kill(self, actor: Any) -> None:
        """End an actor's process, whatever it is at."""
        with contextlib.suppress(Exception):
            self._ray.kill(actor)

    def answered(self, answers: Sequence[Any], seconds: float) -> list[Any]:
        """Those of the answers that are there, after so long at most."""
        ready, rest = self._ray.wait(list(answers), num_returns=1, timeout=seconds)
        if ready and rest:
            more, _ = self._ray.wait(rest, num_returns=len(rest), timeout=0)
            ready = [*ready, *more]
        return list(ready)

    def value(self, answer: Any) -> Any:
        """An answer that is there, or `Lost`."""
        return self._ray.get(answer)

    def why_nobody(self) -> str:
        """What to say when no worker has been ready for a while."""
        free = self._ray.available_resources()
        return (
            f"no worker is ready yet: each needs {self._needs.cpus} cores"
            + (f" and {self._needs.gpus:g} GPUs" if self._needs.gpus else "")
            + f", free are {free.get('CPU', 0):g} cores and {free.get('GPU', 0):g} GPUs"
        )

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _fitting(self, resources: dict[str, float]) -> int:
        count = resources.get("CPU", 0.0) / self._needs.cpus
        if self._needs.gpus:
            gpus = resources.get("GPU", 0.0)
            # A worker's part of a GPU is a part of one.
            each = math.floor(1.0 / self._needs.gpus + 1e-6) if self._needs.gpus <= 1.0 else 0
            whole = gpus * each if each else gpus / self._needs.gpus
            count = min(count, whole)
        return math.floor(count + 1e-6)

    def _local_cpus(self) -> int:
        """Cores that this process may use, and at least what is asked for."""
        try:
            cores = len(os.sched_getaffinity(0))
        except AttributeError:  # not on macOS and Windows
            cores = os.cpu_count() or 1
        return max(cores, self._needs.cpus * (self._needs.workers or 1))

    def _leave(self) -> None:
        with contextlib.suppress(Exception):
            self._ray.shutdown()


def import_ray() -> Any:
    """Ray, which then tells nobody that it is used.

    Raises:
        LiveError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without its long warning
    try:
        import ray
    except ImportError as error:
        raise LiveError(
            "Ray is not installed",
            why=str(error),
            hint="pip install 'posemamba-live[batch]'",
        ) from error
    return ray


def _show_token() -> None:
    """Have Ray's client show the cluster's token, where there is one, as all else of Ray does.

    The client of Ray 2.60 alone looks for none unless the mode is said; the cluster turns it
    away without a word, and it waits for its time-out.
    """
    name = "ray._private.authentication.authentication_token_setup"
    with contextlib.suppress(ImportError, AttributeError):  # before Ray had tokens
        setup = importlib.import_module(name)
        logging.getLogger(name).setLevel(logging.ERROR)
        setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


@contextlib.contextmanager
def _signals_as_they_were() -> Iterator[None]:
    """Ray takes SIGTERM for itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Callable[..., Any] | int | None = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
