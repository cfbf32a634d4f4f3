"""The assignment of least cost, against SciPy's."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from posemamba_live.tracking.assignment import least_cost


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 12])
@pytest.mark.parametrize("whole", [False, True])
def test_the_total_is_scipys(rows: int, whole: bool) -> None:
    rng = np.random.default_rng(rows)
    for more in (0, 1, 7):
        for _ in range(20):
            costs = rng.uniform(-5.0, 40.0, (rows, rows + more))
            costs = np.round(costs / 10.0) if whole else costs  # ties
            chosen = least_cost(costs.tolist())
            assert len(set(chosen)) == rows
            best = costs[linear_sum_assignment(costs)].sum()
            assert costs[np.arange(rows), chosen].sum() == pytest.approx(best)


def test_a_crowd_takes_milliseconds() -> None:
    costs = np.random.default_rng(1).uniform(0, 40, (12, 24)).tolist()
    least_cost(costs)
    began = time.process_time()
    for _ in range(5):
        least_cost(costs)
    assert (time.process_time() - began) / 5 < 0.02


def test_following_people_loads_no_scipy() -> None:
    line = "import sys, posemamba_live.tracking.people; print('scipy' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", line], capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout.strip() == "False"
