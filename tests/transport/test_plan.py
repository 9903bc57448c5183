"""Transport plans against loops, the exact distance, closed forms of maps, and what files hold."""

import doctest
import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import divmatch
from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.kernels import couplings
from divmatch.kernels.execution import executing
from divmatch.transport import plan
from tests.reference.sinkhorn import entropic_plan
from tests.tolerances import ROUNDING, SOLVER

SIZES = pytest.mark.parametrize(("n", "m"), [(9, 7), (7, 9)])
RHO = pytest.mark.parametrize("rho", [None, 2.0])


def pair(n=9, m=7, d=2, seed=0, shift=0.5):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.3 + shift


def masses(n, seed=0):
    weights = np.random.default_rng([seed, n]).random(n) + 0.2
    weights[n // 2] = 0.0
    return weights / weights.sum()


def table(found):
    """A plan of pairs as a matrix."""
    made = np.zeros((found.x.n, found.y.n))
    rows, columns, amounts, *_ = found.pairs(0.0)
    np.add.at(made, (rows, columns), amounts)
    return made


def test_examples_of_the_module_run():
    assert doctest.testmod(plan).failed == 0


# --------------------------------------------------------------------------------------- exact


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("kind", ["plain", "weighted", "tied", "tied and weighted"])
def test_exact_plan_has_the_marginals_the_cost_and_its_proof(kind, p, d):
    x, y = pair(40, 31, d)
    if "tied" in kind:
        x, y = np.round(x), np.round(y)
    a, b = (masses(40), masses(31)) if "weighted" in kind else (np.full(k, 1 / k) for k in (40, 31))
    given = {"weights_x": a, "weights_y": b} if "weighted" in kind else {}
    found, costs = plan.exact(x, y, p=p, **given), cdist(x, y) ** p
    assert found.marginals()[0] == pytest.approx(a, abs=ROUNDING(40))
    assert found.marginals()[1] == pytest.approx(b, abs=ROUNDING(40))
    expected = divmatch.ot(x, y, p=p, **given).value ** p
    room = ROUNDING(40, scale=50)
    assert found.total_cost == pytest.approx(expected, abs=room)
    assert (table(found) * costs).sum() == pytest.approx(expected, abs=room)
    assert found.pairs().masses @ found.costs_of(found.pairs()) == pytest.approx(expected, abs=room)
    assert a @ found.f + b @ found.g == pytest.approx(expected, abs=room)
    used = np.ix_(a > 0, b > 0)
    assert (costs - found.f[:, None] - found.g)[used].min() >= -10 * room


@pytest.mark.parametrize("tied", [False, True])
def test_equal_sizes_are_an_assignment(tied):
    x, y = pair(50, 50, 2)
    found = plan.exact(np.round(x), np.round(y)) if tied else plan.exact(x, y)
    rows, columns, amounts, *_ = found.pairs()
    assert rows.tolist() == list(range(50))
    assert sorted(columns.tolist()) == list(range(50))
    assert amounts == pytest.approx(np.full(50, 0.02), abs=ROUNDING(50))


@pytest.mark.parametrize("d", [1, 3])
def test_barycentric_map_of_a_shift_is_the_shift(d):
    x, _ = pair(30, 1, d)
    found = plan.exact(x, x[::-1] + 2.0)
    assert found.barycentric() == pytest.approx(x + 2.0, abs=ROUNDING(30, scale=10))


def test_barycentric_map_has_no_place_for_rows_without_weight():
    x, y = pair()
    found = plan.exact(x, y, weights_x=masses(9))
    assert np.isnan(found.barycentric()).any(axis=1).tolist() == [k == 4 for k in range(9)]
    whole = table(found)[[0, 1]]
    assert found.barycentric()[:2] == pytest.approx(whole @ y / whole.sum(1)[:, None])


def test_heaviest_pairs_are_those_of_the_matrix():
    found = plan.exact(*pair(5, 23))
    whole, top = found.matrix().toarray(), found.top(2)
    expected = np.sort(whole, axis=1)[:, :-3:-1]
    assert top.masses.reshape(5, 2) == pytest.approx(expected, abs=0)
    assert top.left_out == pytest.approx(1 - expected.sum(), abs=ROUNDING(23))


def test_cosine_plan_keeps_the_rows_it_was_given():
    x, y = pair(20, 15, 3)
    found = plan.exact(10 * x, y, cost="cosine")
    assert found.total_cost == pytest.approx(divmatch.ot(x, y, cost="cosine").value)
    assert (found.pairs().masses @ found.costs_of(found.pairs())) == pytest.approx(found.total_cost)
    assert found.barycentric().max() <= y.max()


def test_costs_that_are_no_numbers_make_no_plan():
    with pytest.raises(InconclusiveError, match="are no numbers; choose a smaller -p"):
        plan.exact(*(100 * rows for rows in pair(9, 7, 1)), p=1000)


# --------------------------------------------------------------------------------------- orlicz

GROWTHS = {"power:3": lambda t: t**3, "exp": np.expm1, "exp2": lambda t: np.expm1(t * t)}


@pytest.mark.parametrize("phi", GROWTHS)
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("kind", ["plain", "tied", "weighted", "far"])
def test_orlicz_plan_costs_one_at_the_norm_and_potentials_prove_it(phi, d, kind):
    x, y = pair(40, 31, d)
    if kind == "tied":
        x, y = np.round(x), np.round(y)
    if kind == "far":  # where the cost from one cluster to the other has no digits in common with 1
        x = np.concatenate([x, x + 1e6])
        y = x + 0.1 * np.random.default_rng(0).normal(size=x.shape)
    weights = {"weights_x": masses(40), "weights_y": masses(31)} if kind == "weighted" else {}
    found = plan.orlicz(x, y, orlicz=phi, **weights)
    assert found.norm == divmatch.ot(x, y, orlicz=phi, **weights).value
    a, b, room = found.x.masses(), found.y.masses(), 10 * ROUNDING(80, scale=50)
    assert found.marginals()[0] == pytest.approx(a, abs=room)
    assert found.marginals()[1] == pytest.approx(b, abs=room)
    assert found.pairs().masses @ found.costs_of(found.pairs()) == pytest.approx(1.0, abs=room)
    assert a @ found.f + b @ found.g == pytest.approx(1.0, abs=room)
    used = np.ix_(a > 0, b > 0)
    with np.errstate(over="ignore"):
        costs = GROWTHS[phi](cdist(x, y) / found.norm)
    assert (costs - found.f[:, None] - found.g)[used].min() >= -room


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("tied", [False, True])
def test_orlicz_plan_of_equal_samples_costs_nothing(d, tied):
    x, _ = pair(20, 1, d)
    x = np.round(x) if tied else x
    found = plan.orlicz(x, x[::-1])
    assert divmatch.ot(x, x[::-1], orlicz="exp2").se == 0.0
    assert (found.norm, found.total_cost, found.lower) == (0.0, 0.0, 0.0)
    assert found.costs_of(found.pairs()).max() == 0.0
    assert found.barycentric() == pytest.approx(x, abs=0)


# ------------------------------------------------------------------------------------- entropic


@SIZES
@RHO
@pytest.mark.parametrize("engine", ["array module", "compiled"])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean"])
def test_entropic_plan_is_that_of_the_loops(monkeypatch, engine, n, m, rho, cost):
    monkeypatch.setattr(couplings, "COMPILED_FROM", 0.0 if engine == "compiled" else math.inf)
    x, y = pair(n, m)
    a, b = masses(n), masses(m)
    kept = np.ix_(a > 0, b > 0)
    expected = np.zeros((n, m))
    costs = cdist(x, y, cost)
    expected[kept] = entropic_plan(
        costs[kept].tolist(),
        a[a > 0].tolist(),
        b[b > 0].tolist(),
        0.7,
        rho or math.inf,
        400,
    )
    found = plan.entropic(
        x, y, weights_x=a, weights_y=b, eps="abs:0.7", cost=cost, unbalanced=rho, tol=1e-11
    )
    room = SOLVER(1e-11)
    assert found.matrix() == pytest.approx(expected, abs=room)
    assert table(found) == pytest.approx(expected, abs=room)
    rows, columns = found.marginals()
    assert rows == pytest.approx(expected.sum(1), abs=room)
    assert columns == pytest.approx(expected.sum(0), abs=room)
    assert found.total_cost == pytest.approx((expected * costs).sum(), abs=10 * room)
    share = expected[a > 0] / expected[a > 0].sum(1)[:, None]
    assert found.barycentric()[a > 0] == pytest.approx(share @ y, abs=10 * room)
    top = found.top(3).masses.reshape(-1, 3)
    assert top == pytest.approx(np.sort(expected[a > 0], axis=1)[:, :-4:-1], abs=room)


def test_pairs_say_what_they_leave_out():
    found = plan.entropic(*pair(60, 50))
    whole, kept = found.matrix(), found.pairs(1e-4)
    assert np.array_equal(kept.masses > 1e-4, np.ones(len(kept.masses), dtype=bool))
    assert len(kept.masses) == (whole > 1e-4).sum()
    assert kept.left_out == pytest.approx(whole[whole <= 1e-4].sum(), abs=ROUNDING(3000))
    assert found.pairs().left_out <= 1e-3


def test_more_pairs_than_fit_are_left_out_or_refused():
    found = plan.entropic(*pair(60, 50), eps=1.0)
    with executing(memory=64 * 1000):
        few = found.pairs()
        assert len(few.masses) <= 1000
        assert few.left_out == pytest.approx(1 - few.masses.sum(), abs=ROUNDING(3000))
        with pytest.raises(SettingError, match="more than 1000 pairs"):
            found.pairs(1e-9)
    with executing(memory=1000), pytest.raises(SettingError, match=r"60 x 50 rows needs .* GiB"):
        found.matrix()


# --------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("engine", ["array module", "compiled"])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "cityblock"])
@pytest.mark.parametrize("settings", [{"eps": 0.3}, {"eps": 1e-3}, {"eps": 1e-3, "max_iter": 3}])
def test_bounds_hold_the_exact_cost(monkeypatch, engine, cost, settings):
    monkeypatch.setattr(couplings, "COMPILED_FROM", 0.0 if engine == "compiled" else math.inf)
    x, y = pair(40, 30, 3)
    a, b = masses(40), masses(30)
    weights = {"weights_x": a, "weights_y": b}
    exact = divmatch.ot(x, y, cost=cost, p=1, **weights).value
    params = divmatch.sinkhorn(x, y, cost=cost, **settings, **weights).params
    assert params["lower"] <= exact <= params["upper"]
    assert params["gap"] == pytest.approx(1 - params["lower"] / params["upper"], abs=1e-12)


def test_bounds_meet_as_eps_falls():
    x, y = pair(40, 30, 3)
    gaps = [divmatch.sinkhorn(x, y, eps=eps).params["gap"] for eps in (1e-1, 1e-2, 1e-3, 1e-4)]
    assert (np.diff(gaps) < 0).all()
    assert gaps[-1] < 1e-3


def test_bounds_with_a_price_of_mass_hold_the_limit():
    x, y = pair(20, 15)
    limit = divmatch.sinkhorn(x, y, eps="abs:1e-5", unbalanced=1.0, debiased=False).value
    params = divmatch.sinkhorn(x, y, eps="abs:0.2", unbalanced=1.0).params
    assert params["lower"] <= limit <= params["upper"] + 1e-4
    assert params["gap"] < 0.5


def test_equal_rows_have_bounds_of_zero():
    assert divmatch.sinkhorn(np.ones((5, 2)), np.ones((4, 2))).params["upper"] == 0.0


# ----------------------------------------------------------------------------------------- maps


def slope(found, debiased):
    return float(np.diff(found.map([[-0.5], [0.5]], debiased=debiased), axis=0)[0, 0])


def test_entropic_maps_of_gaussians_have_their_slopes():
    """N(0, 1) to N(0, 1.5²), eps = 1: 1.270690633; less 0.7808 of the own map, plus 1."""
    u = np.linspace(-7, 7, 400)
    weights = np.exp(-0.5 * u**2)
    found = plan.entropic(
        u, 1.5 * u, weights_x=weights, weights_y=weights, eps="abs:1.0", debiased=True, tol=1e-10
    )
    assert slope(found, debiased=False) == pytest.approx(1.270690633, abs=1e-8)
    own = (math.sqrt(4 + 0.25) - 0.5) / 2
    assert slope(found, debiased=True) == pytest.approx(2.270690633 - own, abs=1e-8)


def test_debiased_map_needs_the_own_potentials():
    with pytest.raises(SettingError, match="debiased"):
        plan.entropic(*pair()).map([[0.0, 0.0]], debiased=True)


def test_points_of_a_map_have_the_columns_of_the_plan():
    with pytest.raises(SampleError, match="expected 2"):
        plan.entropic(*pair()).map([[0.0, 0.0, 0.0]])


# ---------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("solver", [plan.exact, plan.entropic])
def test_file_opens_without_pickle_and_holds_the_plan(tmp_path, solver):
    found = solver(*pair(), cost="sqeuclidean")
    path = tmp_path / "plan.npz"
    found.save(str(path))
    with np.load(path, allow_pickle=False) as saved:
        held = dict(saved)
    assert held["f"] == pytest.approx(found.f, abs=0)
    assert (str(held["cost"]), float(held["p"]), float(held["eps"])) == (
        "sqeuclidean", 1.0, found.eps,
    )  # fmt: skip
    assert (int(held["n"]), int(held["m"])) == (9, 7)
    assert held["mass"].sum() + held["left_out"] == pytest.approx(1.0, abs=ROUNDING(63))
    costs = cdist(*pair(), "sqeuclidean")[held["row"], held["col"]]
    assert held["mass"] @ costs == pytest.approx(found.total_cost, rel=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == ["plan.npz"]
