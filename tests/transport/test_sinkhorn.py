"""Entropic transport and the Sinkhorn divergence: loops, closed forms, POT, limits, awkward problems."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import divmatch
from divmatch.errors import InconclusiveError, SettingError
from divmatch.kernels.execution import executing
from divmatch.transport.acceleration import Anderson
from divmatch.transport.costs import PROFILES
from tests.reference.sinkhorn import entropic
from tests.tolerances import LUCK, ROUNDING, SAME, SOLVER
from tests.truths import gaussian

METHODS = pytest.mark.parametrize("method", ["newton", "log"])
EVERY_COST = pytest.mark.parametrize("cost", PROFILES)
EPS = pytest.mark.parametrize("eps", [10.0, 1.0, 0.3])


def pair(n=9, m=7, d=2, seed=0, shift=0.5):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.3 + shift


def masses(n, seed=0):
    weights = np.random.default_rng([seed, n]).random(n) + 0.2
    return weights / weights.sum()


def absolute(eps):
    return f"abs:{eps}"


def plain(x, y, a, b, cost, eps, rho=math.inf):
    return entropic(cdist(x, y, cost).tolist(), list(a), list(b), eps, rho)


def codes(result):
    return [note.code for note in result.warnings]


# ------------------------------------------------------------------------------------- loops


@METHODS
@EVERY_COST
@EPS
def test_cost_equals_the_loops(method, cost, eps):
    x, y = pair()
    a, b = masses(9), masses(7)
    expected, moved, _ = plain(x, y, a, b, cost, eps)
    found = divmatch.sinkhorn(
        x, y, method=method, weights_x=a, weights_y=b, cost=cost, eps=absolute(eps), debiased=False
    )
    assert found.value == pytest.approx(expected, abs=SOLVER(1e-11))
    assert found.params["cost_of_plan"] == pytest.approx(moved, abs=SOLVER(1e-10))


@EVERY_COST
def test_divergence_equals_the_loops(cost):
    x, y = pair()
    a, b = masses(9), masses(7)
    parts = [plain(*four, cost, 2.0)[0] for four in ((x, y, a, b), (x, x, a, a), (y, y, b, b))]
    found = divmatch.sinkhorn(x, y, weights_x=a, weights_y=b, cost=cost, eps=absolute(2.0))
    assert found.value == pytest.approx(parts[0] - (parts[1] + parts[2]) / 2, abs=SOLVER(1e-11))


@METHODS
@pytest.mark.parametrize("rho", [0.1, 2.0, 50.0])
def test_unbalanced_cost_equals_the_loops(method, rho):
    x, y = pair()
    a, b = masses(9), masses(7)
    expected, moved, mass = plain(x, y, a, b, "sqeuclidean", 0.7, rho)
    found = divmatch.sinkhorn(
        x, y, method=method, weights_x=a, weights_y=b, eps=absolute(0.7), debiased=False,
        unbalanced=rho,
    )  # fmt: skip
    assert found.value == pytest.approx(expected, abs=SOLVER(1e-11))
    assert found.params["mass"] == pytest.approx(mass, abs=SOLVER(1e-11))
    assert found.params["cost_of_plan"] == pytest.approx(moved, abs=SOLVER(1e-10))


def test_unbalanced_tends_to_balanced():
    x, y = pair()
    free = divmatch.sinkhorn(x, y, unbalanced=1e9).value
    assert free == pytest.approx(divmatch.sinkhorn(x, y).value, abs=1e-6)


# --------------------------------------------------------------------------------- closed forms


def test_two_points_each():
    """Equal points at distance 1: −eps ln((1 + exp(−1/eps)) / 2)."""
    found = divmatch.sinkhorn([0.0, 1.0], [0.0, 1.0], eps="abs:0.5", debiased=False)
    assert found.value == pytest.approx(-0.5 * math.log((1 + math.exp(-2)) / 2), abs=SOLVER(1e-12))
    assert found.params["cost_of_plan"] == pytest.approx(0.1192029220, abs=1e-10)


def grid(mean, sd):
    points = np.linspace(mean - 7 * sd, mean + 7 * sd, 300)
    return points, np.exp(-0.5 * ((points - mean) / sd) ** 2)


@pytest.mark.parametrize("eps", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("debiased", [False, True])
def test_gaussians_on_a_grid(eps, debiased):
    (x, a), (y, b) = grid(0.0, 1.0), grid(1.0, 1.5)
    found = divmatch.sinkhorn(
        x, y, weights_x=a, weights_y=b, eps=absolute(eps), debiased=debiased
    ).value
    truth = gaussian.sinkhorn if debiased else gaussian.entropic
    moments = np.array([0.0]), np.eye(1), np.array([1.0]), np.eye(1) * 2.25
    assert found == pytest.approx(truth(*moments, eps), abs=1e-8)


def test_gaussian_truth_is_the_published_number():
    moments = np.array([0.0]), np.eye(1), np.array([1.0]), np.eye(1) * 2.25
    assert gaussian.entropic(*moments, 1.0) == pytest.approx(2.340877154, abs=1e-9)
    assert gaussian.sinkhorn(*moments, 1.0) == pytest.approx(1.246606148, abs=1e-9)


def plane(covariance):
    """Points of a square grid, with the weights of a Gaussian's density."""
    axis = np.arange(-10.2, 10.3, 0.6)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    weights = np.exp(-0.5 * np.einsum("ij,ij->i", points @ np.linalg.inv(covariance), points))
    kept = weights > 1e-9
    return points[kept], weights[kept]


def test_gaussians_on_a_plane():
    (x, a), (y, b) = plane(np.array([[2.0, 1.0], [1.0, 2.0]])), plane(np.diag([1.0, 3.0]))
    found = divmatch.sinkhorn(x, y, weights_x=a, weights_y=b, eps=absolute(1.0), debiased=False)
    assert found.value == pytest.approx(2.836867049, abs=1e-6)


@METHODS
@pytest.mark.parametrize("eps", [10.0, 0.05, 1e-3])
def test_a_shift_costs_its_square(method, eps):
    if (method, eps) == ("log", 1e-3):
        pytest.skip("it takes too many sweeps")
    x = pair(30, d=3)[0]
    shift = np.array([0.7, -0.2, 0.4])
    found = divmatch.sinkhorn(x, x + shift, method=method, eps=eps)
    assert found.value == pytest.approx(0.69, abs=SOLVER(1e-9))


def test_single_points_cost_their_distance():
    assert divmatch.sinkhorn([[0.0, 0.0]], [[3.0, 4.0]]).value == pytest.approx(25.0, abs=1e-12)


def test_unbalanced_single_points():
    """Both of mass 1: the mass exp(−c / (eps + 2ρ)) is moved."""
    found = divmatch.sinkhorn([0.0], [1.3**0.5], eps="abs:0.4", unbalanced=0.7, debiased=False)
    assert found.params["mass"] == pytest.approx(math.exp(-1.3 / 1.8), abs=1e-10)


@EVERY_COST
@pytest.mark.parametrize("eps", [1.0, 0.05, 1e-3])
def test_a_sample_and_itself(cost, eps):
    x = pair(40, d=2)[0]
    assert divmatch.sinkhorn(x, x, cost=cost, eps=eps).value == pytest.approx(0, abs=SOLVER(1e-11))


def test_small_eps_tends_to_the_sorted_distance():
    x, y = pair(40, 40, d=1)
    expected = float(np.mean((np.sort(x[:, 0]) - np.sort(y[:, 0])) ** 2))
    found = divmatch.sinkhorn(x, y, eps=1e-5)
    assert found.value == pytest.approx(expected, abs=1e-3)
    assert "W47" not in codes(found)


def test_large_eps_tends_to_the_means():
    x, y = pair(40, 30)
    gap = x.mean(axis=0) - y.mean(axis=0)
    assert divmatch.sinkhorn(x, y, eps=1e5).value == pytest.approx(gap @ gap, abs=1e-3)


# ----------------------------------------------------------------------------------------- POT


@pytest.mark.parametrize("eps", [1.0, 0.2])
@pytest.mark.filterwarnings("ignore")
def test_pot_finds_the_same(eps):
    ot = pytest.importorskip("ot")
    x, y = pair(40, 30)
    expected = ot.solve(
        cdist(x, y, "sqeuclidean"), reg=eps, reg_type="KL", tol=1e-13, max_iter=20000
    )
    found = divmatch.sinkhorn(x, y, eps=absolute(eps), debiased=False)
    assert found.value == pytest.approx(expected.value, abs=1e-8)


# ------------------------------------------------------------------------------------ properties


def test_cost_grows_with_eps():
    x, y = pair(40, 30)
    found = [divmatch.sinkhorn(x, y, eps=e, debiased=False).value for e in 10.0 ** np.arange(-5, 2)]
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("eps", [10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_every_eps_gives_a_number(eps):
    x, y = pair(60, 50, d=3)
    found = divmatch.sinkhorn(x, y, eps=eps)
    assert math.isfinite(found.value)
    assert "W47" not in codes(found)
    assert found.params["marginal_error"] <= 1e-6


def test_weights_are_repeated_rows():
    x, y = pair(20, 15)
    times = np.arange(20) % 3 + 1
    expected = divmatch.sinkhorn(np.repeat(x, times, axis=0), y, eps="abs:0.3").value
    found = divmatch.sinkhorn(x, y, weights_x=times, eps="abs:0.3").value
    assert found == pytest.approx(expected, abs=SOLVER(1e-12))


def test_rows_without_weight_change_nothing():
    x, y = pair(20, 15)
    more = np.concatenate([x, [[1e6, -1e6]]])
    found = divmatch.sinkhorn(more, y, weights_x=[1.0] * 20 + [0.0])
    assert found.value == pytest.approx(divmatch.sinkhorn(x, y).value, abs=SOLVER(1e-12))


def test_relative_eps_is_a_share_of_the_mean_cost():
    x, y = pair(20, 15)
    mean = cdist(x, y, "sqeuclidean").mean()
    found = divmatch.sinkhorn(x, y, eps=0.1)
    assert found.value == pytest.approx(
        divmatch.sinkhorn(x, y, eps=absolute(0.1 * mean)).value, abs=SOLVER(1e-12)
    )
    assert found.params["mean_cost"] == pytest.approx(mean, abs=ROUNDING(300, scale=10))


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "abs:0", "abs:", "small"])
def test_impossible_eps_is_refused(text):
    with pytest.raises(SettingError, match=r"^--eps .*abs:X"):
        divmatch.sinkhorn(*pair(), eps=text)


def test_without_mass_there_is_no_number():
    from divmatch.samples import Samples
    from divmatch.transport.problem import Support

    with pytest.raises(InconclusiveError, match="no row carries weight"):
        Support.of(Samples(np.ones((2, 1)), np.full(2, np.nan)))


def test_eps_far_below_rounding_is_refused():
    with pytest.raises(InconclusiveError, match="far below the rounding errors of costs"):
        divmatch.sinkhorn(*pair(9, 7), eps=1e-300)


def test_equal_rows_cost_exactly_nothing():
    found = divmatch.sinkhorn(np.full((40, 3), 0.1), np.full((30, 3), 0.1))
    assert (found.value, found.params["mean_cost"], found.params["gap"]) == (0.0, 0.0, 0.0)


# ---------------------------------------------------------------------------------- convergence


def test_too_few_sweeps_are_no_silent_number():
    found = divmatch.sinkhorn(*pair(30, 30), eps=1e-3, method="log", max_iter=5)
    assert "W47" in codes(found)
    assert found.status == "inconclusive"
    assert found.params["marginal_error"] > 1e-6


def test_newton_needs_fewer_sweeps():
    x, y = pair(200, 200, d=3)
    sweeps = [
        divmatch.sinkhorn(x, y, eps=5e-3, method=m, debiased=False).params["sweeps"]
        for m in ("newton", "log")
    ]
    assert sweeps[0] < sweeps[1] / 2


@pytest.mark.parametrize("eps", [0.05, 1e-2])
@EVERY_COST
def test_compiled_and_small_solvers_agree(monkeypatch, eps, cost):
    from divmatch.kernels import couplings

    x, y = pair(150, 120, d=3)
    small = divmatch.sinkhorn(x, y, eps=eps, cost=cost)
    monkeypatch.setattr(couplings, "COMPILED_FROM", 0.0)
    found = divmatch.sinkhorn(x, y, eps=eps, cost=cost, tol=1e-9)
    assert found.value == pytest.approx(small.value, abs=SOLVER(1e-10))


@pytest.mark.parametrize("dense_columns", [0, 600])
def test_sparse_and_dense_newton_agree(monkeypatch, dense_columns):
    from divmatch.transport import newton

    monkeypatch.setattr(newton, "DENSE_COLUMNS", dense_columns)
    monkeypatch.setattr(newton, "CROWDED", 1e9)
    x, y = pair(80, 60, d=2)
    found = divmatch.sinkhorn(x, y, eps=1e-2, debiased=False, tol=1e-10)
    assert found.params["newton_steps"] > 0
    expected = divmatch.sinkhorn(x, y, eps=1e-2, debiased=False, method="log", max_iter=20000).value
    assert found.value == pytest.approx(expected, abs=SOLVER(1e-10))


@pytest.fixture
def sparse(monkeypatch):
    """Everything that large problems use, on small ones."""
    from divmatch.kernels import couplings
    from divmatch.transport import entropic, newton, problem

    monkeypatch.setattr(couplings, "COMPILED_FROM", 0.0)
    monkeypatch.setattr(problem, "THINNED_FROM", 16)
    for module in (entropic, newton):
        monkeypatch.setattr(module, "DENSE_COLUMNS", 0)


@pytest.mark.parametrize("settings", [{}, {"unbalanced": 2.0}, {"cost": "euclidean"}])
@pytest.mark.parametrize("eps", [0.05, 1e-2, 1e-3])
def test_large_entries_by_themselves_lead_to_the_same(request, settings, eps):
    x, y = pair(150, 120, d=3)
    a = masses(150)
    expected = divmatch.sinkhorn(x, y, weights_x=a, eps=eps, debiased=False, **settings)
    request.getfixturevalue("sparse")
    found = divmatch.sinkhorn(x, y, weights_x=a, eps=eps, debiased=False, tol=1e-9, **settings)
    assert found.params["newton_steps"] > 0
    assert found.params["marginal_error"] <= 1e-9
    assert found.value == pytest.approx(expected.value, abs=SOLVER(1e-9))


def test_small_eps_needs_few_sweeps_over_all_pairs(sparse):
    x, y = pair(400, 400, d=3)
    found = divmatch.sinkhorn(x, y, eps=1e-3, debiased=False, tol=1e-9)
    assert found.params["sweeps"] < 40


def test_equal_rows_on_large_entries(sparse):
    x, y = pair(30, 40, d=2)
    expected = divmatch.sinkhorn(x, y, eps="abs:0.02", debiased=False).value
    found = divmatch.sinkhorn(
        np.repeat(x, 5, axis=0), np.repeat(y, 4, axis=0), eps="abs:0.02", debiased=False
    )
    assert found.value == pytest.approx(expected, abs=SOLVER(1e-6))


def test_float32_is_left_where_the_error_stands_still():
    from divmatch.kernels.couplings import Coupling
    from divmatch.transport.dual import Dual

    rows = np.random.default_rng(0).normal(size=(2000, 3))
    weights = np.full(2000, 1 / 2000)
    dual = Dual(Coupling(PROFILES["sqeuclidean"], rows, rows, weights, weights))
    floor = dual.coupling.floor(1.0)
    dual.aim(1.0, 1.0)
    assert not dual.aim(2 * floor, 1.0)
    assert dual.aim(1.9 * floor, 1.0)
    assert not dual.single


def test_float32_carries_no_tiny_eps():
    from divmatch.kernels.couplings import Coupling
    from divmatch.transport.dual import Dual

    rows = np.random.default_rng(0).normal(size=(2000, 3))
    weights = np.full(2000, 1 / 2000)
    dual = Dual(Coupling(PROFILES["sqeuclidean"], rows, rows, weights, weights))
    dual.aim(1.0, 1e-6)
    assert not dual.single


def test_single_and_double_input_agree():
    x, y = pair(60, 50, d=3)
    single = divmatch.sinkhorn(x.astype(np.float32), y.astype(np.float32)).value
    assert single == pytest.approx(divmatch.sinkhorn(x, y).value, rel=1e-5)


def test_threads_change_no_digit(monkeypatch):
    from divmatch.kernels import couplings, execution

    monkeypatch.setattr(couplings, "COMPILED_FROM", 0.0)
    monkeypatch.setattr(execution, "THREADS_FROM", 0.0)
    x, y = pair(700, 300, d=3)
    found = []
    for threads in (1, 3):
        with executing(threads=threads):
            found.append(divmatch.sinkhorn(x, y, eps=0.02, debiased=False).value)
    assert SAME(*found)


# ------------------------------------------------------------------------------------- influence


@pytest.mark.parametrize("settings", [{}, {"debiased": False}, {"unbalanced": 2.0}])
def test_influence_is_the_derivative_by_the_weight(settings):
    from divmatch.estimator import quantity
    from divmatch.samples import as_samples

    x, y = pair(12, 10)
    estimator = quantity("sinkhorn").chosen(None)
    checked = estimator.checked({"eps": "abs:0.5", **settings})
    base = np.full(12, 1 / 12)

    def value(step):
        weights = base + step * (np.eye(12)[3] - base)
        return estimator(as_samples(x, "x", weights), as_samples(y, "y"), **checked).value

    slope = (value(1e-4) - value(-1e-4)) / 2e-4
    terms = estimator(as_samples(x, "x", base), as_samples(y, "y"), **checked).terms_x
    assert terms[3] - base @ terms == pytest.approx(slope, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("debiased", [True, False])
def test_standard_error_is_the_spread_of_samples(debiased):
    found = []
    for seed in range(200):
        x, y = pair(100, 100, seed=seed, shift=1.0)
        found.append(divmatch.sinkhorn(x, y, eps="abs:0.5", debiased=debiased))
    spread = np.std([f.value for f in found], ddof=1)
    claimed = np.mean([f.se for f in found])
    assert claimed == pytest.approx(spread, abs=LUCK(spread / math.sqrt(400)))


def test_first_sweeps_are_made_in_float32_and_the_last_are_not(monkeypatch):
    from divmatch.kernels import couplings

    monkeypatch.setattr(couplings, "COMPILED_FROM", 0.0)
    params = divmatch.sinkhorn(*pair(60, 50, d=3), debiased=False).params
    assert 0 < params["sweeps_in_float32"] < params["sweeps"]


@pytest.mark.parametrize("debiased", [False, True])
def test_an_extrapolation_that_leads_astray_is_taken_back(debiased, monkeypatch):
    """Without it the potentials overflow: the iteration goes on from where it led."""
    x, y = (np.random.default_rng(k).normal(size=(60, 2)) + k for k in range(2))
    wanted = divmatch.sinkhorn(x, y, method="log", eps=0.01, debiased=debiased).value
    honest, calls = Anderson.next, []

    def astray(self, g, image, error):
        calls.append(error)
        return 1e30 * image if len(calls) % 7 == 0 else honest(self, g, image, error)

    monkeypatch.setattr(Anderson, "next", astray)
    found = divmatch.sinkhorn(x, y, method="log", eps=0.01, debiased=debiased)
    assert found.value == pytest.approx(wanted, rel=1e-5)
    assert found.params["marginal_error"] < 1e-6
