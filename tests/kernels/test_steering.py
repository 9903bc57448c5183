"""SVGD's direction, streamed over half of the pairs, against all pairs in plain loops."""

import numpy as np
import pytest

from divmatch.kernels import cpu, gpu
from divmatch.kernels.execution import executing
from divmatch.kernels.pairwise import Profile
from divmatch.kernels.steering import steered
from tests.reference.sampling import kernel, svgd
from tests.tolerances import ROUNDING, SAME

NAMES = pytest.mark.parametrize("name", ["gaussian", "imq"])


def rows(n, d, seed=0):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def weights(n):
    drawn = np.random.default_rng(n).random(n) + 0.1
    return drawn / drawn.sum()


@NAMES
@pytest.mark.parametrize("far", [0.0, 1e4])
def test_direction_is_that_of_the_pairs(name, far):
    x, scores, a = rows(7, 3) + far, rows(7, 3, 1), weights(7)
    found, masses = steered(Profile(name, 0.8), x, scores, a)
    assert found == pytest.approx(np.array(svgd(name, x, scores, a, 0.8)), abs=1e-11)
    sums = [a @ [kernel(name, y, z, 0.8)[0] for y in x] for z in x]
    assert masses == pytest.approx(np.array(sums), abs=1e-11)


@NAMES
@pytest.mark.parametrize("d", [3, 20])
def test_compiled_tiles_agree_with_those_of_numpy(name, d, monkeypatch):
    x, scores, a = rows(700, d), rows(700, d, 1), weights(700)
    found = []
    for twin in (cpu, gpu):
        monkeypatch.setattr("divmatch.kernels.pairwise.twin", lambda *_, twin=twin: twin)
        found.append(steered(Profile(name, 2.0), x, scores, a)[0])
    assert found[0] == pytest.approx(found[1], abs=ROUNDING(700, scale=100))


@pytest.mark.parametrize("run", [cpu, gpu], ids=["cpu", "gpu"])
def test_single_precision_is_right_to_its_digits(run, monkeypatch):
    x, scores, a = rows(700, 20), rows(700, 20, 1), weights(700)
    exact, _ = steered(Profile("gaussian", 2.0), x, scores, a)
    monkeypatch.setattr("divmatch.kernels.steering.twin", lambda *_: run)
    found, _ = steered(Profile("gaussian", 2.0), x, scores, a, rough=True)
    assert not SAME(found, exact)
    assert found == pytest.approx(exact, abs=1e-5 * np.abs(exact).max())


def test_rows_far_from_their_centre_stay_in_double_precision():
    x, scores, a = rows(700, 20), rows(700, 20, 1), weights(700)
    x[0] += 100.0
    found = [steered(Profile("gaussian", 2.0), x, scores, a, rough=r)[0] for r in (False, True)]
    assert SAME(*found)


def test_same_digits_for_any_number_of_threads():
    x, scores, a = rows(1200, 30), rows(1200, 30, 1), weights(1200)
    found = []
    for threads in (1, 2):
        with executing(threads=threads):
            found.append(
                [steered(Profile("gaussian", 2.0), x, scores, a, rough=r)[0] for r in (0, 1)]
            )
    assert SAME(*found)
