"""`divmatch.match.sample`: directions in plain loops, closed forms of Gaussian targets, figures of record."""

import numpy as np
import pytest
from scipy.optimize import minimize

import divmatch
from divmatch.errors import DivmatchError, SampleError, SettingError
from divmatch.matcher import Watch, task
from divmatch.samples import as_samples
from divmatch.target_kinds import Target
from divmatch.targets import opened
from divmatch.transport.gaussian_steps import descended, judged, rule_for, stepped
from divmatch.transport.mirrors import Box, Mirrored, Positive, Simplex
from divmatch.transport.particles import Swarm, coins
from divmatch.transport.sample_mirror import ByRows, Descent, eigenfunctions
from divmatch.transport.sample_natural import Natural
from divmatch.transport.sample_svgd import Stein, scale_of
from divmatch.transport.sampling import level
from tests.reference import sampling
from tests.tolerances import LUCK, ROUNDING, SAME, SOLVER

sample = divmatch.match.sample
DIFFERENCES = 1e-7  # of central differences


@pytest.fixture
def correlated(tmp_path, monkeypatch):
    """Names of a Gaussian with mean (1, -1) and covariance ((2, 0.8), (0.8, 1))."""
    monkeypatch.chdir(tmp_path)
    np.save("m.npy", np.array([1.0, -1.0]))
    np.save("c.npy", np.array([[2.0, 0.8], [0.8, 1.0]]))
    return "gaussian:m.npy,c.npy"


def start(n, d, seed=0):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


# --------------------------------------------------------------------------------------- svgd


def test_one_particle_follows_the_score():
    target = opened("gaussian:3,2", 2)
    way, _ = Stein(target, np.ones(1)).at(np.array([[1.0, 0.0]]))
    assert way == pytest.approx(target.scores(np.array([[1.0, 0.0]])), abs=ROUNDING(1, scale=3))


def test_bandwidth_is_the_median_over_the_logarithm():
    x = start(9, 2)
    squares = [((p - q) ** 2).sum() for i, p in enumerate(x) for q in x[:i]]
    expected = np.sqrt(np.median(squares) / (2 * np.log(10)))
    assert scale_of("median", x) == pytest.approx(expected, rel=1e-12)


def test_linear_kernel_has_the_exact_mean_and_covariance(correlated):
    found = sample(start(30, 2), target=correlated, kernel="linear", tol=1e-11, steps=3000)
    assert found.converged
    assert found.points.mean(axis=0) == pytest.approx([1.0, -1.0], abs=SOLVER(1e-10))
    covariance = np.cov(found.points.T, bias=True)
    assert covariance == pytest.approx(np.array([[2.0, 0.8], [0.8, 1.0]]), abs=SOLVER(1e-10))


def test_gaussian_kernel_has_the_deficit_of_the_record():
    """100 particles in the plane keep 0.92 of the trace, as published for this bandwidth."""
    found = sample(target="gaussian:0,1", n=100, dim=2)
    assert np.trace(np.cov(found.points.T, bias=True)) / 2 == pytest.approx(0.92, abs=0.015)
    assert "W69" in {note.code for note in found.after.warnings}


def test_imq_keeps_more_of_the_spread_in_many_columns():
    found = [
        sample(target="gaussian:0,1", n=100, dim=20, kernel=kernel, tol=0.01).fit.facts["spread"]
        for kernel in ("gaussian", "imq")
    ]
    assert found[0] < 0.5
    assert found[1] > 0.7


def test_discrepancies_are_those_of_ksd_with_the_bandwidth_of_the_record(correlated):
    x = start(40, 2)
    found = sample(x, target=correlated)
    settings = {"target": correlated, "method": "v", "bandwidth": found.fit.facts["ksd_bandwidth"]}
    assert found.before.value == pytest.approx(divmatch.ksd(x, **settings).value, rel=1e-12)
    assert found.after.value == pytest.approx(
        divmatch.ksd(found.points, **settings).value, rel=1e-12
    )


def test_level_is_ksd_with_the_median_distance(correlated):
    x, a = start(40, 2), np.full(40, 1 / 40)
    found = level(x, opened(correlated, 2).scores(x), a)
    middle = np.median([((p - q) ** 2).sum() for i, p in enumerate(x) for q in x[:i]])
    settings = {"target": correlated, "method": "v", "bandwidth": float(middle**0.5)}
    assert found == pytest.approx(divmatch.ksd(x, **settings).value, rel=1e-12)


def test_nothing_moves_the_particles_of_a_fixed_point(correlated):
    options = {"target": correlated, "bandwidth": 0.7}
    found = sample(start(20, 2), tol=1e-6, **options)
    again = sample(found.points, tol=2e-5, **options)
    assert again.fit.facts["steps"] == 0
    assert SAME(again.points, found.points)


def test_integer_weights_are_repeated_rows(correlated):
    x, times = start(12, 2), np.r_[[3] * 4, [1] * 8]
    options = {"target": correlated, "bandwidth": 0.7, "tol": 1e-7, "steps": 3000}
    weighted = sample(x, weights_x=times, **options)
    repeated = sample(np.repeat(x, times, axis=0), **options)
    assert weighted.before.value != pytest.approx(sample(x, **options).before.value)
    assert np.repeat(weighted.points, times, axis=0) == pytest.approx(repeated.points, abs=1e-4)


def test_adagrad_is_the_rule_of_the_record():
    """The first step of Adagrad is the same for every number: step · sign."""
    x = start(5, 2)
    found = sample(x, target="gaussian:9,1", step=0.01, steps=1)
    assert found.points - x == pytest.approx(np.full((5, 2), 0.01), rel=1e-3)


def test_narrow_target_far_away_is_found():
    found = sample(target="gaussian:100,0.01", n=30, dim=2, steps=3000)
    assert found.converged
    assert found.points.mean(axis=0) == pytest.approx([100.0, 100.0], abs=0.01)


def test_scores_of_the_wrong_sign_are_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.py").write_text("def score(x):\n    return x\n")
    found = sample(target="wrong.py:score", n=10, dim=1, steps=5)
    assert {"W32", "W57"} <= {note.code for note in found.after.warnings}


# --------------------------------------------------------------------------------------- coin


def test_coins_bet_as_in_plain_loops():
    ways = start(20, 3)
    swarm, path = Swarm(np.array([[1.0, 2.0, 3.0]])), []
    for way in ways:
        swarm.x = swarm.x + coins(swarm, way[None], np.ones(1), 1.0)
        path.append(swarm.x[0])
    for c in range(3):
        expected = sampling.coins(float(c + 1), ways[:, c].tolist())
        assert np.array(path)[:, c] == pytest.approx(expected, abs=ROUNDING(100, scale=10))


def test_coins_reach_what_svgd_reaches(correlated):
    """The table of the record: 50 particles of a correlated Gaussian, mean off 2e-3, trace ratio 0.87."""
    coin = sample(start(50, 2), target=correlated, method="coin", tol=1e-4, steps=3000)
    svgd = sample(start(50, 2), target=correlated, tol=1e-4, steps=3000)
    traces = [np.trace(np.cov(found.points.T, bias=True)) / 3 for found in (coin, svgd)]
    assert coin.points.mean(axis=0) == pytest.approx([1.0, -1.0], abs=2e-3)
    assert traces[0] == pytest.approx(0.87, abs=0.02)
    assert traces[0] == pytest.approx(traces[1], abs=0.01)


# --------------------------------------------------------------------------------------- svng


def test_natural_direction_of_a_constant_metric_is_svgd_of_whitened_rows(correlated):
    target, x, a = opened(correlated, 2), start(15, 2), np.full(15, 1 / 15)
    precision = np.linalg.inv([[2.0, 0.8], [0.8, 1.0]])
    values, vectors = np.linalg.eigh(precision)
    root = (vectors * np.sqrt(values)) @ vectors.T
    scores = target.scores(x) @ np.linalg.inv(root)
    expected = np.array(sampling.svgd("gaussian", x @ root, scores, a, 0.9)) @ np.linalg.inv(root)
    direction = Natural(target, a, "hessian", 0.9)
    found = direction.at(x)[0] @ direction.back
    assert found == pytest.approx(expected, abs=1e-13)


def test_natural_gradients_go_with_stretched_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("c.npy", np.array([1.0, 1e8]))
    x = start(30, 2)
    plain = sample(x, target="gaussian:0,1", method="svng")
    wide = sample(x * [1, 1e4], target="gaussian:0,c.npy", method="svng")
    assert wide.fit.facts["steps"] == pytest.approx(plain.fit.facts["steps"], abs=40)
    assert wide.points.std(axis=0) / [1, 1e4] == pytest.approx(plain.points.std(axis=0), rel=0.01)


# ------------------------------------------------------------------------------------- mirrors

MIRRORS = {
    "simplex": (Simplex(), np.random.default_rng(1).dirichlet([2, 3, 5, 1], 8)),
    "positive": (Positive(), np.exp(start(8, 3))),
    "box": (Box(-1.0, 4.0), np.random.default_rng(1).uniform(-0.9, 3.9, (8, 3))),
}
EVERY_MIRROR = pytest.mark.parametrize(("mirror", "rows"), MIRRORS.values(), ids=MIRRORS)


class Waves(Target):
    """ln p = Σ sin(c θ_c) + θ₀ θ₁."""

    def log_density(self, points):
        c = np.arange(1, points.shape[1] + 1)
        return np.sin(c * points).sum(axis=1) + points[:, 0] * points[:, 1]

    def scores(self, points):
        c = np.arange(1, points.shape[1] + 1)
        made = c * np.cos(c * points)
        made[:, 0] += points[:, 1]
        made[:, 1] += points[:, 0]
        return made


def jacobian(mirror, free):
    """∂θ/∂η of own columns by central differences: (∇²ψ)⁻¹."""
    step, d = 1e-5, free.shape[1]
    return np.stack(
        [
            mirror.coordinates(mirror.rows(free + step * np.eye(d)[c]))
            - mirror.coordinates(mirror.rows(free - step * np.eye(d)[c]))
            for c in range(d)
        ],
        axis=2,
    ) / (2 * step)


@EVERY_MIRROR
def test_mirrored_rows_come_back(mirror, rows):
    assert mirror.rows(mirror.free(rows, "x")) == pytest.approx(rows, rel=1e-12)


@EVERY_MIRROR
def test_inverse_hessian_is_the_slope_of_the_map(mirror, rows):
    assert mirror.inverse(rows) == pytest.approx(
        jacobian(mirror, mirror.free(rows, "x")), abs=DIFFERENCES
    )


@EVERY_MIRROR
def test_hessian_and_its_inverse_are_of_each_other(mirror, rows):
    unit = np.broadcast_to(np.eye(mirror.coordinates(rows).shape[1]), mirror.inverse(rows).shape)
    assert mirror.hessian(rows) @ mirror.inverse(rows) == pytest.approx(unit, abs=1e-12)


@EVERY_MIRROR
def test_mirrored_scores_are_slopes_of_the_mirrored_density(mirror, rows):
    def log_density(free):
        volume = np.linalg.slogdet(mirror.inverse(mirror.rows(free)))[1]
        return Waves().log_density(mirror.rows(free)) + volume

    free, step = mirror.free(rows, "x"), 1e-5
    for c in range(free.shape[1]):
        move = step * np.eye(free.shape[1])[c]
        slope = (log_density(free + move) - log_density(free - move)) / (2 * step)
        assert Mirrored(Waves(), mirror).scores(free)[:, c] == pytest.approx(slope, abs=DIFFERENCES)


@EVERY_MIRROR
def test_kernel_of_rows_has_its_slope_through_the_map(mirror, rows):
    free, a = mirror.free(rows, "x"), np.full(8, 1 / 8)
    dual = Mirrored(Waves(), mirror)
    own = mirror.coordinates(rows)
    expected = sampling.mirrored(
        free, dual.scores(free), mirror.inverse(rows), a, scale_of("median", own), own
    )
    assert ByRows(dual, a).at(free)[0] == pytest.approx(expected, abs=1e-12)


@EVERY_MIRROR
def test_mirror_descent_is_that_of_matrices(mirror, rows):
    free, a = mirror.free(rows, "x"), np.full(8, 1 / 8)
    dual = Mirrored(Waves(), mirror)
    parts = eigenfunctions(mirror.coordinates(rows), a)
    expected = sampling.mirror_descent(
        dual.scores(free), mirror.inverse(rows), mirror.hessian(rows), *parts
    )
    assert Descent(dual, a).at(free)[0] == pytest.approx(expected, rel=1e-9)


def test_eigenfunctions_are_orthonormal_under_the_weights():
    a = np.random.default_rng(2).dirichlet(np.ones(12))
    _, functions, _ = eigenfunctions(start(12, 2), a)
    products = functions.T @ (a[:, None] * functions)
    assert products == pytest.approx(np.eye(len(products)), abs=1e-9)


def test_dirichlet_score_is_the_closed_form():
    rows = MIRRORS["simplex"][1]
    alpha = np.array([2.0, 3.0, 5.0, 1.0])
    found = Mirrored(opened("dirichlet:2,3,5,1", 4), Simplex()).scores(Simplex().free(rows, "x"))
    assert found == pytest.approx((alpha - 11.0 * rows)[:, :-1], abs=1e-12)


@pytest.mark.parametrize("options", [{"method": "msvgd"}, {"method": "msvgd", "space": "rows"}])
def test_mirrored_svgd_has_the_figures_of_the_record(options):
    """Dirichlet(2, 3, 5) by 60 particles: means .2003 .2998 .4999, Var(θ₁) .0131."""
    found = sample(target="dirichlet:2,3,5", n=60, **options)
    assert found.converged
    assert found.points.mean(axis=0) == pytest.approx([0.2, 0.3, 0.5], abs=0.004)
    assert found.points[:, 0].var() == pytest.approx(0.0131, abs=3e-4)
    assert found.points.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-12)


def test_mirror_descent_has_mean_and_variance_of_its_target():
    found = sample(target="dirichlet:2,3,5", n=50, method="svmd")
    assert found.points.mean(axis=0) == pytest.approx([0.2, 0.3, 0.5], abs=0.002)
    assert found.points[:, 0].var() == pytest.approx(0.2 * 0.8 / 11, rel=0.05)


@pytest.mark.parametrize(
    ("x", "domain", "message"),
    [
        ([[0.5, 0.6]], "simplex", "row 0 is not inside the simplex"),
        ([[0.5, 0.5], [0.0, 1.0]], "simplex", "row 1 is not inside the simplex"),
        ([[1.0], [-1.0]], "positive", "row 1 is not inside the domain: expected numbers above 0"),
        ([[1.0], [2.0]], "box:0,2", "row 1 .* above 0 and below 2"),
        ([[1.0]], "box:2,0", "expected simplex, positive or box:LOW,HIGH"),
        ([[1.0]], "simplx", "did you mean 'simplex'"),
    ],
)
def test_rows_outside_the_domain_are_refused(x, domain, message):
    with pytest.raises(DivmatchError, match=message):
        sample(x, target="gaussian:0,1", method="msvgd", domain=domain)


def test_simplex_target_is_refused_elsewhere():
    with pytest.raises(SettingError, match="choose --method msvgd"):
        sample(target="dirichlet:1,2", n=5)


# --------------------------------------------------------------------------------------- fb-gvi


def divergence(law, mean, covariance):
    """KL between Gaussians, in closed form."""
    inverse, gap = np.linalg.inv(covariance), law.mean - mean
    logs = [np.linalg.slogdet(one)[1] for one in (law.covariance, covariance)]
    inner = np.trace(inverse @ law.covariance) + gap @ inverse @ gap - len(gap)
    return 0.5 * (inner - logs[0] + logs[1])


def test_gaussian_inference_falls_at_the_rate_of_the_record(tmp_path, monkeypatch):
    """Target N((1, −1), diag(1, 4)), η = 1, start N(0, I)."""
    monkeypatch.chdir(tmp_path)
    mean, covariance = np.array([1.0, -1.0]), np.diag([1.0, 4.0])
    np.save("m.npy", mean)
    np.save("c.npy", covariance)
    target, rule = opened("gaussian:m.npy,c.npy", 2), rule_for(2, 0, np.random.default_rng(0))
    law, found = judged(np.zeros(2), np.eye(2), rule, target), []
    for _ in range(60):
        found.append(divergence(law, mean, covariance))
        law = judged(*stepped(law, 1.0), rule, target)
    expected = [0.9431471806, 0.1570163702, 0.008168709733, 1.25731511e-6]
    assert [found[k] for k in (0, 1, 5, 20)] == pytest.approx(expected, rel=1e-8)
    assert found[59] < 1e-15


def test_backward_step_is_the_proximal_point_of_the_entropy():
    """(I − η S⁻¹) S (I − η S⁻¹) = M S₀ M."""
    rule = rule_for(3, 0, np.random.default_rng(0))
    law = judged(np.ones(3), np.diag([1.0, 2.0, 0.5]), rule, opened("gaussian:0,2", 3))
    _, covariance = stepped(law, 0.7)
    m = np.eye(3) - 0.7 * law.curvature
    back = np.eye(3) - 0.7 * np.linalg.inv(covariance)
    assert back @ covariance @ back == pytest.approx(m @ law.covariance @ m, abs=1e-13)


def test_logistic_posterior_has_the_figures_of_the_record(tmp_path):
    x, y = np.array([[0.5], [1.5], [-1.0], [2.0]]), np.array([1.0, 1.0, 0.0, 1.0])
    np.savez(tmp_path / "log.npz", x=x, y=y, prior=4.0)
    found = sample(target=f"logistic:{tmp_path / 'log.npz'}", n=20, method="fb-gvi", tol=1e-9)
    assert found.fit.arrays["mean"] == pytest.approx([2.20589679], abs=1e-7)
    assert np.sqrt(found.fit.arrays["covariance"]) == pytest.approx(1.17985467, abs=1e-7)


def test_gaussian_inference_is_the_minimum_of_the_divergence():
    target, rule = opened("student:3,1,2", 1), rule_for(1, 0, np.random.default_rng(0))

    def objective(parameters):
        rows = parameters[0] + np.exp(parameters[1]) * rule.z
        return -rule.weights @ target.log_density(rows) - parameters[1]

    best = minimize(objective, [0.0, 0.0], tol=1e-12).x
    options = {"steps": 500, "step": "auto", "tol": 1e-8, "watch": Watch()}
    state, converged = descended(np.zeros(1), np.eye(1), target, rule, **options)
    assert converged
    assert [state.law.mean[0], state.law.covariance[0, 0]] == pytest.approx(
        [best[0], np.exp(2 * best[1])], abs=1e-5
    )


@pytest.mark.parametrize("d", [2, 6])
def test_linear_posterior_is_exact_with_any_number_of_columns(tmp_path, d):
    rng = np.random.default_rng(d)
    x, y = rng.normal(size=(30, d)), rng.normal(size=30)
    np.savez(tmp_path / "lin.npz", x=x, y=y, noise=0.5, prior=2.0)
    found = sample(target=f"linear:{tmp_path / 'lin.npz'}", n=20, method="fb-gvi", tol=1e-9)
    covariance = np.linalg.inv(x.T @ x / 0.5 + np.eye(d) / 2.0)
    assert found.fit.arrays["covariance"] == pytest.approx(covariance, abs=SOLVER(1e-9))
    assert found.fit.arrays["mean"] == pytest.approx(covariance @ x.T @ y / 0.5, abs=SOLVER(1e-9))


def test_scores_alone_lead_to_the_same_gaussian(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text(
        "import numpy as np\n"
        "def log_density(x):\n    return -2 * np.log1p(((x - 5) ** 2).sum(1) / 3)\n"
        "def score(x):\n    g = 5 - x\n    return 4 * g / (3 + (g**2).sum(1))[:, None]\n"
    )
    options = {"n": 20, "dim": 2, "method": "fb-gvi", "tol": 1e-8}
    one, other = (sample(target=f"t.py:{name}", **options) for name in ("log_density", "score"))
    assert one.fit.arrays["mean"] == pytest.approx(other.fit.arrays["mean"], abs=1e-6)
    assert one.fit.arrays["covariance"] == pytest.approx(other.fit.arrays["covariance"], abs=1e-6)
    assert "W75" in {note.code for note in one.after.warnings}


def test_rows_are_of_the_gaussian_that_was_found():
    found = sample(target="gaussian:3,4", n=4000, dim=1, method="fb-gvi")
    assert found.fit.fresh
    assert found.points.mean() == pytest.approx(3.0, abs=LUCK(2 / 4000**0.5))
    assert found.points.var() == pytest.approx(4.0, abs=LUCK(4 * (2 / 4000) ** 0.5))


def test_python_takes_a_function_as_the_target():
    def log_density(x):
        return -0.5 * ((x - 5) ** 2).sum(axis=1)

    found = sample(start(20, 2), target=log_density, tol=1e-2)
    same = sample(start(20, 2), target="gaussian:5,1", tol=1e-2)
    assert found.points == pytest.approx(same.points, abs=1e-6)


# ---------------------------------------------------------------------------------- checkpoints


class Stopping(Watch):
    """Keeps the state of one step, and gives it back to the next fit."""

    def __init__(self, at=None, state=None):
        super().__init__()
        self.at, self.state = at, state

    def kept(self):
        return self.state if self.at is None else None

    def keep(self, state):
        if self.curve[-1]["iteration"] == self.at:
            self.state = {name: np.array(values) for name, values in state().items()}


@pytest.mark.parametrize("method", ["svgd", "coin", "svng", "fb-gvi"])
@pytest.mark.parametrize("at", [3, 10])
def test_a_fit_goes_on_to_the_same_digits(method, at):
    chosen = task("sample").methods[method]
    x = as_samples(start(20, 2), "x")
    settings = chosen.checked({"target": "student:3,2,1", "tol": 1e-5, "steps": 40})

    def fit(watch):
        drawn = {"rng": np.random.default_rng(0)} if chosen.random else {}
        return chosen(x, None, **settings, **drawn, watch=watch)

    first = Stopping(at)
    whole, second = fit(first), Stopping(state=first.state)
    assert first.state is not None
    rest = fit(second)
    assert SAME(rest.points, whole.points)
    assert second.curve == first.curve


# ---------------------------------------------------------------------------------------- input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "gaussian:0,1"}, "give P, rows to start from, or --n N"),
        ({"target": "gaussian:0,1", "n": 5}, "give --dim D"),
        ({"n": 5, "dim": 2}, "give --target NAME or --score-command CMD, neither is given"),
        (
            {"n": 5, "dim": 2, "target": "gaussian:0,1", "score_command": "cat"},
            "both are given",
        ),
        ({"target": "dirichlet:1", "n": 5}, "expected two or more numbers above 0"),
        ({"target": "student:0,0,1", "n": 5, "dim": 1}, "expected student:DF,MEAN,SHAPE"),
    ],
)
def test_what_is_missing_is_said(options, message):
    with pytest.raises(DivmatchError, match=message):
        sample(**options)


def test_numbers_that_contradict_the_rows_are_refused():
    with pytest.raises(SettingError, match="--n 4: x has 3 rows"):
        sample(start(3, 2), target="gaussian:0,1", n=4)


def test_particles_that_leave_the_numbers_are_an_error():
    with pytest.raises(DivmatchError, match="left the range of numbers in step 1"):
        sample(target="gaussian:0,1", n=10, dim=1, method="svgd", step=1e160)


def test_scores_too_large_for_a_discrepancy_are_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.py").write_text("def score(x):\n    return 1e300 * x\n")
    with pytest.raises(DivmatchError, match="start: scores are so large that KSD is no number"):
        sample(target="wrong.py:score", n=10, dim=1, method="coin")


def test_dimension_comes_from_the_file_of_a_mixture(tmp_path):
    np.savez(tmp_path / "m.npz", weights=[0.5, 0.5], means=np.zeros((2, 3)), covariances=[1.0, 4.0])
    found = sample(target=f"mixture:{tmp_path / 'm.npz'}", n=6, steps=2)
    assert found.points.shape == (6, 3)


def test_sample_error_names_the_row():
    with pytest.raises(SampleError, match="row 1, column 0"):
        sample([[0.0], [np.nan]], target="gaussian:0,1")
