"""Kernel method of moments: other solvers of the primal, its limits, rows beyond P's."""

import numpy as np
import pytest
from pyarrow import parquet
from scipy.spatial.distance import cdist

import divmatch
from divmatch.errors import DivmatchError, InconclusiveError, SettingError
from divmatch.matcher import Watch
from divmatch.samples import as_samples
from divmatch.transport.kernel_moments import mmd as method
from divmatch.transport.moment_dual import Problem, tilted
from tests.reference import weights as reference
from tests.tolerances import ROUNDING, SAME, SOLVER

S = 1.3  # bandwidth of the tests


def rows(n, d=2, seed=0, shift=0.0):
    return np.random.default_rng([n, d, seed]).normal(size=(n, d)) + shift


def fit(x, y=None, **settings):
    return divmatch.match.weights(x, y, method="mmd", metric="none", **settings)


def gaussian(x, y):
    return np.exp(-cdist(x, y, "sqeuclidean") / (2 * S * S))


def spread(gram, q):
    return q @ np.diag(gram) - q @ gram @ q


@pytest.mark.parametrize("kernel", ["gaussian", "riesz:1"])
def test_weights_are_those_of_another_solver(kernel):
    """The primal by SLSQP; −|x − y| is a kernel for weights of sum 1."""
    x, y = rows(14), rows(11, seed=1, shift=0.3)
    q = np.random.default_rng(0).random(14) + 0.2
    q /= q.sum()
    of = gaussian if kernel == "gaussian" else lambda a, b: -cdist(a, b)
    gram, mu = of(x, x), of(x, y).mean(axis=1)
    eps = 0.2 * spread(gram, q)
    expected = reference.near_in_a_kernel(gram, mu, eps, x, y.mean(axis=0), q)
    scale = {"bandwidth": S} if kernel == "gaussian" else {}
    found = fit(x, y, kernel=kernel, eps=0.2, weights_x=q, **scale)
    assert found.weights == pytest.approx(expected, abs=1e-6)


def test_objective_is_that_of_the_weights():
    x, y = rows(30), rows(25, seed=1, shift=0.3)
    found = fit(x, y, bandwidth=S, eps=0.1)
    gram, w, q, b = gaussian(x, x), found.weights, np.full(30, 1 / 30), np.full(25, 1 / 25)
    mmd2 = w @ gram @ w - 2 * w @ gaussian(x, y) @ b + b @ gaussian(y, y) @ b
    facts = found.fit.facts
    assert facts["mmd2_after"] == pytest.approx(mmd2, abs=ROUNDING(900))
    kl = w @ np.log(w / q)
    assert facts["objective"] == pytest.approx(mmd2 / 2 + 0.1 * spread(gram, q) * kl, abs=1e-9)
    assert facts["gap"] <= 1e-12


def test_dual_and_primal_meet():
    """The gap that is stated is the difference of both values, at a point that is not the best."""
    rng = np.random.default_rng(0)
    factor, mu, q = rng.normal(size=(20, 4)), rng.normal(size=20), np.full(20, 0.05)
    found = tilted(Problem(factor, mu, 0.5, np.empty((20, 0)), q, 0.0, 1.0))
    w = found.weights
    primal = 0.5 * (factor.T @ w) @ (factor.T @ w) - mu @ w + 0.5 * (w @ np.log(w / q))
    u = -(factor.T @ w) / 0.5
    dual = -0.5 * (0.25 * u @ u + np.log(q @ np.exp(mu / 0.5 + factor @ u)))
    assert primal == pytest.approx(dual, abs=SOLVER(1e-10))


def test_moments_are_met():
    x, y = rows(80, 3), rows(70, 3, seed=1, shift=0.2)
    found = fit(x, y, moments=2)
    for power in (1, 2):
        assert found.weights @ x**power == pytest.approx((y**power).mean(axis=0), abs=SOLVER(1e-8))


@pytest.mark.parametrize("eps", [1e-1, 1e-2, 1e-3, 1e-4])
def test_moments_are_met_at_any_price(eps):
    x, y = rows(60), rows(50, seed=1, shift=0.3)
    found = fit(x, y, eps=eps)
    assert found.converged
    assert found.weights @ x == pytest.approx(y.mean(axis=0), abs=SOLVER(1e-8))


def test_what_holds_already_changes_nothing(tmp_path):
    """Without Q the weights stay near P: moments that P has cost nothing."""
    x = rows(40, 1)
    (tmp_path / "own.toml").write_text(f"[0]\nmean = {float(x.mean())!r}\n")
    found = fit(x, margins=str(tmp_path / "own.toml"), bandwidth=S)
    assert found.weights == pytest.approx(1 / 40, abs=SOLVER(1e-10))
    assert found.fit.facts["objective"] == pytest.approx(0.0, abs=SOLVER(1e-10))


def test_margins_are_met_near_p(tmp_path):
    (tmp_path / "m.toml").write_text("[0]\nmean = 0.4\nsd = 0.8\n")
    x = rows(60)
    found = fit(x, margins=str(tmp_path / "m.toml"), bandwidth=S)
    near = divmatch.match.weights(x, margins=str(tmp_path / "m.toml"), metric="none")
    assert found.weights @ x[:, 0] == pytest.approx(0.4, abs=SOLVER(1e-8))
    assert found.weights @ (x[:, 0] - 0.4) ** 2 == pytest.approx(0.64, abs=SOLVER(1e-8))
    moved = [
        divmatch.mmd(x, x, method="v", bandwidth=S, weights_x=one.weights).value
        for one in (found, near)
    ]
    assert moved[0] < moved[1]


def test_a_large_price_is_entropy_balancing():
    x, y = rows(50), rows(40, seed=1, shift=0.3)
    entropy = divmatch.match.weights(x, y, metric="none").weights
    assert fit(x, y, eps=1e6).weights == pytest.approx(entropy, abs=1e-7)


def test_a_small_price_is_kernel_mean_matching():
    x, y = rows(50), rows(40, seed=1, shift=0.3)
    found = fit(x, y, eps=1e-5, moments=0, bandwidth=S).fit.facts["mmd2_after"]
    least = divmatch.match.weights(x, y, method="kmm", bandwidth=S, metric="none")
    assert found == pytest.approx(least.fit.facts["mmd2_after"], abs=1e-4)


@pytest.mark.parametrize("kernel", ["gaussian", "riesz:1"])
def test_other_rows_get_the_weights_that_they_would_have(kernel):
    x, y = as_samples(rows(40), "x"), as_samples(rows(30, seed=1, shift=0.3), "y")
    found = method.function(x, y, kernel=kernel, rng=None, watch=Watch())
    assert found.extend(x).masses() == pytest.approx(found.weights, abs=1e-7)


def test_within_delta_is_near_enough():
    x, y = rows(60), rows(50, seed=1, shift=0.5)
    found = fit(x, y, delta=0.1, eps=10.0)
    gaps = np.abs(found.weights @ x - y.mean(axis=0)) / x.std(axis=0)
    assert gaps.max() == pytest.approx(0.1, abs=SOLVER(1e-8))


@pytest.mark.parametrize("kernel", ["gaussian", "riesz:1", "poly"])
def test_one_row_has_all_the_weight(kernel):
    scale = {"bandwidth": S} if kernel == "gaussian" else {}
    found = fit(rows(1), rows(5, seed=1), kernel=kernel, moments=0, **scale)
    assert (found.converged, found.weights.tolist()) == (True, [1.0])


def test_a_factor_that_is_too_short_is_told(monkeypatch):
    """What is stated bounds how far the squared MMD is off."""
    monkeypatch.setattr("divmatch.transport.kernel_moments.SMALL", 10)
    monkeypatch.setattr("divmatch.transport.kernel_moments.WIDEST", 12)
    monkeypatch.setattr("divmatch.transport.kernel_factor.BLOCK", 4)
    x, y = rows(60, 5), rows(50, 5, seed=1, shift=0.3)
    found = fit(x, y, bandwidth=S)
    message = next(n.message for r in found.results for n in r.warnings if n.code == "W72")
    w, gram, b = found.weights, gaussian(x, x), np.full(50, 1 / 50)
    exact = w @ gram @ w - 2 * w @ gaussian(x, y) @ b + b @ gaussian(y, y) @ b
    stated = float(message.partition("off by up to ")[2].partition(" ")[0])
    off = abs(exact - found.fit.facts["mmd2_after"]) / spread(gram, np.full(60, 1 / 60))
    assert 0 < off <= stated


# ------------------------------------------------------------------------------ beyond P's rows


def test_new_rows_reach_what_no_weights_do():
    x, y = rows(60), rows(50, seed=1, shift=3.0)
    with pytest.raises(InconclusiveError, match=r"no weights of x give 0 = 2\.968 .*, 1 = 2\.943"):
        fit(x, y)
    found = fit(x, y, beyond=400, jitter=3.0)
    assert found.points.shape == (460, 2)
    assert SAME(found.points[:60], x)
    assert found.weights @ found.points == pytest.approx(y.mean(axis=0), abs=SOLVER(1e-8))


def test_new_rows_are_drawn_around_p():
    found = fit(rows(50), rows(50, seed=1), beyond=2000, jitter=0.5)
    drawn = found.points[50:]
    assert drawn.std(axis=0) == pytest.approx(rows(50).std(axis=0) * 1.25**0.5, rel=0.1)


def test_held_out_rows_have_new_ones_beside_them():
    found = divmatch.match.weights(rows(80), rows(80, seed=1, shift=0.5), method="mmd", beyond=50)
    assert found.held_out == "both"
    assert found.after.value < found.before.value


@pytest.fixture
def there(tmp_path, monkeypatch, capfd):
    from divmatch.cli.main import run

    monkeypatch.chdir(tmp_path)
    lines = [f"r{k},{'' if k < 3 else k % 7},{k % 5}" for k in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["id,a,b", *lines, ""]))
    np.savetxt("q.csv", rows(40, shift=2.5), delimiter=",", header="a,b", comments="")

    def start(line):
        code = run(f"match weights t.csv q.csv --columns a,b --na drop {line}".split())
        return code, *capfd.readouterr()

    return start


def test_new_rows_stand_below_those_of_the_file(there):
    assert there("--method mmd --beyond 20 -o w.parquet -o w.npz")[0] == 0
    table, arrays = parquet.read_table("w.parquet"), np.load("w.npz")
    assert table.column_names == ["id", "a", "b", "weight"]
    assert table["id"].to_pylist() == [*(f"r{k}" for k in range(60)), *[None] * 20]
    assert table["weight"].to_numpy()[:3].tolist() == [0.0, 0.0, 0.0]
    assert SAME(table["weight"].to_numpy()[3:], arrays["weights"])
    assert SAME(table["b"].to_numpy()[60:], arrays["points"][57:, 1])


def test_weights_alone_do_not_say_which_rows_are_new(there):
    code, _, errors = there("--method mmd --beyond 20 -o w.npy")
    assert (code, errors.count("\n")) == (2, 1)
    assert "-o FILE.npz or .parquet" in errors


def test_nothing_is_drawn_near_words(there):
    code, _, errors = there("--method mmd --beyond 20 --na category")
    assert (code, "words or missing values" in errors) == (2, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps": 0}, "^--eps 0"),
        ({"beyond": -1}, "^--beyond -1"),
        ({"kernel": "round"}, "^--kernel round"),
        ({"jitter": 0}, "^--jitter 0"),
    ],
)
def test_bad_settings_are_one_line(settings, message):
    with pytest.raises(DivmatchError, match=message):
        fit(rows(20), rows(20, seed=1), **settings)


def test_nothing_to_come_near_to_is_refused():
    with pytest.raises(SettingError, match="give its rows, or known totals"):
        fit(rows(20))
