"""How rows of a flow move: descent at known rates, inertia in a bath, kernels that narrow."""

import math

import numpy as np
import pytest

import divmatch
from divmatch.errors import SettingError
from divmatch.matcher import Watch
from divmatch.samples import as_samples
from divmatch.transport.descent import Kind, Pace, flowed
from divmatch.transport.flow_kernel import widths
from divmatch.transport.inertia import drifted
from tests.tolerances import LUCK, ROUNDING
from tests.transport.test_flow import flow, rows, target

INERTIAL = ("sliced-riesz", "mmd", "energy", "sliced-w2", "sinkhorn")
CODES = {"W86", "W87"}


# --------------------------------------------------------------------------- gradient descent


class Parabolas:
    """V = a|x|²/2 and W = b|x − x'|²/2. As a value: |gradient|², so that --step is the step itself."""

    reach = 1.0

    def __init__(self, a, b):
        self.a, self.b = a, b

    def at(self, points, where, rng):
        slope = self.a * points + self.b * (points - points.mean(axis=0))
        return float(np.mean(np.einsum("ij,ij->i", slope, slope))), slope


def test_particle_gradient_descent_contracts_at_the_known_rates():
    """a = .5, b = .3, step .2, ten steps: means by .3486784401, what is centred by .1749012288."""
    x = as_samples(rows(30, 2) + 1, "x")
    y = as_samples([[-1.0, -1.0], [1.0, 1.0]], "y")  # mean 0: the frame keeps the origin
    kind = Kind("potential and interaction", "1", 0.0, lambda *_: (lambda *_: Parabolas(0.5, 0.3),))
    pace = Pace(steps=10, step=0.2, tol=1e-9, every=None)
    found = flowed(x, y, kind, pace, np.random.default_rng(0), Watch()).points
    mean = x.points.mean(axis=0)
    assert found.mean(axis=0) == pytest.approx(0.3486784401 * mean, rel=1e-9)
    assert found - found.mean(axis=0) == pytest.approx(0.1749012288 * (x.points - mean), rel=1e-8)


def test_descent_on_half_of_w2_contracts_at_the_known_rate():
    """Steps of .1 are a fifth of Polyak's; after twenty W₂ is .1215766546 of what it was."""
    x, y = rows(30, 1), 3 * rows(30, 1, 1) + 1
    found = flow(x, y, "sliced-w2", step=0.2, steps=20, tol=1e-9).points
    apart = [np.sqrt(np.mean((np.sort(s[:, 0]) - np.sort(y[:, 0])) ** 2)) for s in (found, x)]
    assert apart[0] / apart[1] == pytest.approx(0.1215766546, rel=1e-8)


# ----------------------------------------------------------------------------------- langevin


class Fixed:
    """Normal numbers that are what they are told to be."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def standard_normal(self, shape):
        return np.full(shape, self.numbers.pop(0))


def stepped(first, second, temperature=1.0):
    """Of (0, .5) under the gradient .7, friction 2, time .3."""
    far, fast = drifted(
        np.array([[0.5]]), np.array([[-0.7]]), 0.3, 2.0, temperature, Fixed(first, second)
    )
    return np.array([far[0, 0], fast[0, 0]])


def test_a_step_of_langevin_has_the_known_means():
    assert stepped(0.0, 0.0) == pytest.approx([0.08675505, 0.11648989], abs=1e-8)


def test_a_step_of_langevin_has_the_known_covariance():
    roots = np.stack([stepped(1.0, 0.0), stepped(0.0, 1.0)]) - stepped(0.0, 0.0)
    known = [[0.02351308, 0.10178547], [0.10178547, 0.69880579]]
    assert roots.T @ roots == pytest.approx(np.array(known), abs=1e-8)


def test_no_temperature_is_no_noise():
    assert stepped(1.0, 1.0, temperature=0.0) == pytest.approx(stepped(0.0, 0.0), abs=0)


@pytest.mark.parametrize(
    ("time", "known"), [(0.4, 1.109578633), (0.2, 1.052450329), (0.1, 1.025619214)]
)
def test_chain_in_a_parabola_has_the_known_variance(time, known):
    """V = x²/2, friction 2: the variance of a chain of frozen gradients, from its own recursion."""
    moves = np.array([_moved(*unit, time) for unit in ((1.0, 0.0), (0.0, 1.0))]).T
    noise = _noise_of(time)
    own = np.linalg.solve(np.eye(4) - np.kron(moves, moves), noise.ravel()).reshape(2, 2)
    assert own[0, 0] == pytest.approx(known, rel=1e-8)


def _moved(x, v, time):
    far, fast = drifted(np.array([[v]]), np.array([[-x]]), time, 2.0, 0.0, Fixed())
    return x + far[0, 0], fast[0, 0]


def _noise_of(time):
    rest = np.zeros((1, 1))
    roots = [
        np.ravel(drifted(rest, rest, time, 2.0, 1.0, Fixed(*unit))) for unit in ((1, 0), (0, 1))
    ]
    return np.transpose(roots) @ np.array(roots)


def test_chain_of_many_particles_is_as_warm_as_its_bath():
    """Equipartition: velocities have the variance of the temperature, whatever the friction."""
    rng = np.random.default_rng(0)
    x, v = np.zeros((4000, 1)), np.zeros((4000, 1))
    for _ in range(60):
        far, v = drifted(v, -x, 0.2, 1.5, 0.3, rng)
        x = x + far
    assert v.var() == pytest.approx(0.3, abs=LUCK(0.3 * math.sqrt(2 / 4000), bias=0.01))


@pytest.mark.parametrize("method", INERTIAL)
@pytest.mark.parametrize("name", ["gaussian", "ring", "bimodal"])
def test_rows_with_inertia_come_as_near_as_rows_of_one_distribution(method, name):
    found = flow(rows(100, 2), target(name, 100, 2), method, dynamics="langevin")
    assert found.converged
    assert found.fit.facts["objective"] <= found.fit.facts["goal"]


def test_inertia_has_the_units_of_the_data():
    x, y = rows(40, 2), rows(40, 2, 1) + 1
    one = flow(x, y, "energy", dynamics="langevin", steps=6, tol=1e-9).points
    other = flow(4 * x + 8, 4 * y + 8, "energy", dynamics="langevin", steps=6, tol=1e-9).points
    assert other == pytest.approx(4 * one + 8, abs=1e-6)


def test_heat_that_does_not_let_rows_settle_is_said():
    y = rows(60, 2, 1) + 3
    found = flow(rows(60, 2), y, "energy", dynamics="langevin", temperature=0.9, steps=100)
    assert not found.converged
    assert CODES & {note.code for note in found.fit.notes}
    assert np.abs(found.points).max() < 100  # and they have not flown apart


def test_the_bath_is_in_the_record():
    found = flow(rows(20, 1), rows(20, 1, 1), dynamics="langevin", friction=0.5).settings
    assert (found["friction"], found["temperature"]) == (0.5, 0.1)


@pytest.mark.parametrize("method", ["kl", "js", "chi2"])
def test_ratios_know_no_langevin(method):
    with pytest.raises(
        SettingError, match=f"--dynamics langevin: --divergence {method} follows a ratio"
    ):
        flow(rows(9, 1), rows(9, 1, 1), method, dynamics="langevin")


def test_friction_without_langevin_is_refused():
    with pytest.raises(SettingError, match="--friction: belongs to --dynamics langevin"):
        flow(rows(9, 1), rows(9, 1, 1), friction=2.0)


# ----------------------------------------------------------------------- noise, kernels' widths


def test_noise_carries_rows_where_a_kernel_has_died_away():
    """Q is three bandwidths away; after the flow rows of P are nearer to it on average."""
    options = {"method": "mmd", "kernel": "gaussian", "bandwidth": 1.0, "steps": 200}

    def left(noise):
        pairs = [(rows(60, 1, seed), rows(60, 1, seed + 5) + 3) for seed in range(4)]
        ends = [flow(x, y, noise=noise, **options).points for x, y in pairs]
        return np.mean([y.mean() - end.mean() for (_, y), end in zip(pairs, ends, strict=True)])

    assert left(10.0) < 0.85 * left(0.0)


def test_widths_fall_by_halves_to_the_last():
    found = widths(0.5, np.array([[6.0]]), np.array([[-1.0], [1.0]]))
    assert found == pytest.approx([8.0, 4.0, 2.0, 1.0, 0.5], abs=ROUNDING(1))


@pytest.mark.parametrize("kernel", ["gaussian", "imq", "rq"])
def test_narrowing_kernels_arrive_where_a_narrow_one_does_not(kernel):
    x, y = rows(100, 1), rows(100, 1, 5) + 8
    options = {"method": "mmd", "kernel": kernel, "bandwidth": 1.0}
    assert not flow(x, y, **options).converged
    found = flow(x, y, schedule="adaptive", **options)
    assert found.converged
    assert found.points.mean() == pytest.approx(y.mean(), abs=0.2)


def test_steps_used_up_at_a_wide_kernel_are_judged_by_the_last():
    x, y = rows(40, 1), rows(40, 1, 5) + 8
    options = {"method": "mmd", "bandwidth": 0.5, "steps": 1}
    found = flow(x, y, schedule="adaptive", **options)
    assert [note.code for note in found.fit.notes] == ["W86"]
    fixed = divmatch.match.flow(found.points, y, metric="none", **options)
    assert found.fit.facts["objective"] == pytest.approx(fixed.fit.facts["objective_before"])
