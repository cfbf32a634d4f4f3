"""Workers on a real Ray cluster of several nodes: they are killed, and nodes go away."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from posemamba_live.batch.cluster import Cluster, Needs, import_ray
from posemamba_live.batch.engine import Answer, Engine
from posemamba_live.errors import LiveError
from tests.support import batch_workers
from tests.support.batch_workers import Nap, Napper, Unready
from tests.support.processes import kill

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray's test cluster is for Linux")

Answers = list[Answer[Nap]]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes of a core each, and a head without any."""
    ray = import_ray()
    from ray.cluster_utils import Cluster as Nodes

    ray.cloudpickle.register_pickle_by_value(batch_workers)
    cluster = Nodes(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": 80 * 2**20},
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def do(
    nodes: Any,
    jobs: list[Nap],
    worker: Callable[[], Any] = Napper,
    *,
    each: Callable[[Answers], None] = lambda answers: None,
    stopping: Callable[[Answers], bool] = lambda answers: False,
    workers: int | None = None,
) -> tuple[Answers, list[Nap], list[str]]:
    """Answers, jobs that are left, and what was noted; `each` is called at every answer."""
    answers: Answers = []
    notes: list[str] = []

    def told(answer: Answer[Nap]) -> None:
        answers.append(answer)
        each(answers)

    with Cluster(Needs(nodes.address, workers)) as cluster:
        engine: Engine[Nap] = Engine(cluster, worker, told, notes.append)
        left = engine.run(jobs, lambda: stopping(answers))
    return answers, left, notes


def test_each_job_is_done_once_the_largest_first(nodes: Any) -> None:
    jobs = [Nap(str(number), 0.01, size=number) for number in range(30)]
    answers, left, notes = do(nodes, jobs)
    assert left == []
    assert notes == []
    assert sorted(answer.outcome for answer in answers) == sorted(job.name for job in jobs)
    order = [answer.job.size for answer in answers]
    assert order[0] >= 26
    assert order[-1] <= 3
    processes = {answer.worker.process for answer in answers if answer.worker is not None}
    assert len(processes) == 2


def test_a_killed_workers_job_is_tried_again(nodes: Any) -> None:
    killed = []

    def each(answers: Answers) -> None:
        if len(answers) == 3 and answers[-1].worker is not None:
            killed.append(answers[-1].worker.process)
            kill(killed[0])

    jobs = [Nap(str(number), 0.1) for number in range(12)]
    answers, left, _ = do(nodes, jobs, each=each)
    assert left == []
    assert sorted(answer.outcome for answer in answers) == sorted(job.name for job in jobs)
    assert killed
    assert any(a.worker is not None and a.worker.process != killed[0] for a in answers[3:])


def test_a_job_that_kills_its_worker_three_times_is_reported(nodes: Any) -> None:
    jobs = [Nap("poison", 0.0, size=9, deadly=True), *(Nap(str(n), 0.05) for n in range(12))]
    answers, left, _ = do(nodes, jobs)
    assert left == []
    by_name = {answer.job.name: answer for answer in answers}
    assert len(answers) == len(by_name) == 13
    assert by_name["poison"].outcome is None
    assert "killed 3 times" in by_name["poison"].error
    assert all(by_name[job.name].outcome == job.name for job in jobs[1:])


def test_what_is_not_done_is_named_when_somebody_stops_it(nodes: Any) -> None:
    jobs = [Nap(str(number), 0.1) for number in range(20)]
    answers, left, _ = do(nodes, jobs, stopping=lambda answers: len(answers) >= 4)
    assert len(answers) >= 4
    assert {a.job.name for a in answers} | {job.name for job in left} == {j.name for j in jobs}
    assert len(answers) + len(left) == 20


def test_workers_that_cannot_start_end_it(nodes: Any) -> None:
    with pytest.raises(LiveError, match="No worker can start") as caught:
        do(nodes, [Nap("one", 0.0)] * 5, Unready)
    assert "no such weights" in caught.value.why


def test_more_cores_than_any_node_has(nodes: Any) -> None:
    with pytest.raises(LiveError, match="no room"), Cluster(Needs(nodes.address, cpus=8)) as ray:
        Engine[Nap](ray, Napper, print, print).run([Nap("one", 0.0)], lambda: False)


def test_a_node_that_goes_away_costs_nothing(nodes: Any) -> None:
    """The last test: the cluster is smaller afterwards. What a lost node did is no job's fault."""
    removed: list[str] = []

    def each(answers: Answers) -> None:
        worker = answers[-1].worker
        if not removed and worker is not None:
            gone = next(node for node in nodes.worker_nodes if node.node_id == worker.node)
            removed.append(worker.node)
            nodes.remove_node(gone, allow_graceful=False)

    jobs = [Nap(str(number), 0.2) for number in range(20)]
    answers, left, _ = do(nodes, jobs, each=each)
    assert left == []
    assert sorted(answer.outcome or "" for answer in answers) == sorted(job.name for job in jobs)
    last = answers[-1].worker
    assert last is not None
    assert last.node not in removed
