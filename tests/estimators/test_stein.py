"""Kernel Stein discrepancy: loops, closed forms, targets, weights, the wild bootstrap."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2, multivariate_normal

import divmatch
from divmatch import targets
from divmatch.errors import DivmatchError, InconclusiveError, SampleError, SettingError
from divmatch.estimator import quantity
from divmatch.kernels.execution import executing
from divmatch.samples import as_samples, with_beside
from tests.reference.stein import ksd
from tests.tolerances import LUCK, ROUNDING, SAME

METHODS = pytest.mark.parametrize("method", ["u", "v"])
KERNELS = pytest.mark.parametrize("kernel", ["gaussian", "imq"])
DIFFERENCES = 1e-6  # of a step of 1e-4: its square, and rounding over its square


def normal(seed, n, d):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


@METHODS
@KERNELS
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_plain_loops(method, kernel, weighted):
    x, s = normal(0, 6, 2), normal(1, 6, 2)
    w = np.random.default_rng(2).random(6) + 0.2 if weighted else np.ones(6)
    found = divmatch.ksd(x, scores=s, kernel=kernel, bandwidth=0.9, method=method, weights=w).value
    expected = ksd(x.tolist(), s.tolist(), kernel, 0.9, w.tolist(), method == "u")
    assert found == pytest.approx(expected, abs=DIFFERENCES)


def shifted(seed=3, n=3000):
    x = normal(seed, n, 3)
    x[:, 0] += 0.8
    return x


def test_gaussian_kernel_finds_a_shift():
    """|μ|² (1 + 2/h²)^(−d/2): the scores of N(0, I) and N(μ, I) differ by μ."""
    found = divmatch.ksd(shifted(), target="gaussian:0,1", kernel="gaussian", bandwidth=1.5)
    truth = 0.64 * (1 + 2 / 1.5**2) ** -1.5
    assert truth == pytest.approx(0.24653, abs=5e-6)
    assert found.value == pytest.approx(truth, abs=LUCK(found.se))


def test_imq_kernel_finds_a_shift():
    found = divmatch.ksd(shifted(), target="gaussian:0,1", kernel="imq", bandwidth=1)
    truth = 0.64 * quad(lambda r: (1 + 2 * r) ** -0.5 * chi2.pdf(r, 3), 0, np.inf)[0]
    assert truth == pytest.approx(0.2876, abs=5e-5)
    assert found.value == pytest.approx(truth, abs=LUCK(found.se))


@pytest.mark.parametrize("width", [0.7, 1.5])
def test_gaussian_kernel_finds_shift_and_spread(width):
    """N(.4, 1.3²) against N(0, 1): t^(−1/2) (c² + b² s² (1 − 1/t) / 2), t = 1 + 2 s²/h²."""
    mu, s = 0.4, 1.3
    b, c, t = 1 / s**2 - 1, -mu, 1 + 2 * s * s / width**2
    truth = t**-0.5 * (c * c + 0.5 * b * b * s * s * (1 - 1 / t))
    x = mu + s * normal(4, 4000, 1)
    found = divmatch.ksd(x, target="gaussian:0,1", kernel="gaussian", bandwidth=width)
    assert found.value == pytest.approx(truth, abs=LUCK(found.se))


@KERNELS
def test_unbiased_at_the_target(kernel):
    found = [
        divmatch.ksd(normal(seed, 100, 3), target="gaussian:0,1", kernel=kernel).value
        for seed in range(60)
    ]
    assert np.mean(found) == pytest.approx(0.0, abs=LUCK(np.std(found, ddof=1) / 60**0.5))


@KERNELS
def test_bias_of_v_is_the_mean_of_the_diagonal(kernel):
    """V = (1 − 1/n) U + E h(x, x)/n, and h(x, x) = |s|² k(0) + d / h² or d / c³."""
    x = normal(5, 200, 3)
    u, v = (
        divmatch.ksd(x, target="gaussian:0,1", kernel=kernel, bandwidth=1.5, method=m).value
        for m in "uv"
    )
    squares = np.mean((x**2).sum(axis=1))
    own = squares + 3 / 1.5**2 if kernel == "gaussian" else squares / 1.5 + 3 / 1.5**3
    assert v - (1 - 1 / 200) * u == pytest.approx(own / 200, abs=ROUNDING(200))


def test_v_counts_whole_weights_as_repeated_rows():
    x, counts = normal(6, 12, 2), np.random.default_rng(6).integers(1, 4, 12)
    repeated = divmatch.ksd(
        np.repeat(x, counts, axis=0), target="gaussian:0,1", method="v", bandwidth=1
    )
    found = divmatch.ksd(x, target="gaussian:0,1", method="v", bandwidth=1, weights=counts)
    assert found.value == pytest.approx(repeated.value, abs=ROUNDING(30, scale=5))


@METHODS
def test_influence_is_the_slope_along_a_weight(method):
    x, w, i, step = normal(7, 9, 2), np.full(9, 1 / 9), 3, 1e-4
    estimator = quantity("ksd").chosen("v")
    settings = estimator.checked({"target": "gaussian:0,1", "bandwidth": 1.0})

    def value(e):
        weights = (1 - e) * w + e * np.eye(9)[i]
        return estimator(as_samples(x, "x", weights), **settings).value

    slope = (value(step) - value(-step)) / (2 * step)
    terms = estimator(as_samples(x, "x"), **settings).terms_x
    assert terms[i] - terms.mean() == pytest.approx(slope, abs=ROUNDING(81, scale=5 / step))


def test_standard_error_is_that_of_repeated_samples():
    runs = [
        divmatch.ksd(shifted(seed, 120), target="gaussian:0,1", kernel="gaussian", bandwidth=1.5)
        for seed in range(200)
    ]
    spread = np.std([run.value for run in runs], ddof=1)
    mean = np.mean([run.se for run in runs])
    assert mean == pytest.approx(spread, abs=LUCK(spread / 400**0.5, bias=0.03 * spread))


def test_threads_do_not_change_a_digit(monkeypatch):
    monkeypatch.setattr("divmatch.kernels.execution.THREADS_FROM", 0.0)
    found = []
    for threads in (1, 2):
        with executing(threads=threads, device="cpu"):
            found.append(divmatch.ksd(shifted(8, 700), target="gaussian:0,1", permutations=19))
    assert found[0].as_dict() == found[1].as_dict()


# ------------------------------------------------------------------------------------- targets


def numeric_scores(log_density, x, step=1e-5):
    d = x.shape[1]
    return np.column_stack(
        [
            (log_density(x + step * np.eye(d)[c]) - log_density(x - step * np.eye(d)[c]))
            / (2 * step)
            for c in range(d)
        ]
    )


COVARIANCE = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, 0.3], [0.0, 0.3, 0.5]])


@pytest.mark.parametrize("mean", [0.5, np.array([1.0, -2.0, 0.3])], ids=["number", "vector"])
@pytest.mark.parametrize(
    "covariance", [2.5, np.array([2.0, 1.0, 0.5]), COVARIANCE], ids=["number", "diagonal", "matrix"]
)
def test_gaussian_target_has_the_scores_of_its_density(tmp_path, monkeypatch, mean, covariance):
    monkeypatch.chdir(tmp_path)
    names = []
    for name, value in (("m.npy", mean), ("c.npy", covariance)):
        if np.ndim(value):
            np.save(name, value)
        names.append(name if np.ndim(value) else str(value))
    matrix = covariance if np.ndim(covariance) == 2 else np.diag(np.broadcast_to(covariance, 3))
    law = multivariate_normal(np.broadcast_to(mean, 3), matrix)
    x = 2 * normal(9, 20, 3)
    found = targets.scores(targets.target_named(f"gaussian:{','.join(names)}"), x)
    assert found == pytest.approx(numeric_scores(law.logpdf, x), abs=DIFFERENCES)


@pytest.mark.parametrize("form", ["numbers", "diagonals", "matrices"])
def test_mixture_target_has_the_scores_of_its_density(tmp_path, form):
    means = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, -3.0], [50.0, 0.0, 0.0]])
    spread = {
        "numbers": np.array([1.0, 0.5, 2.0]),
        "diagonals": np.array([[1.0, 2.0, 3.0], [0.5, 0.5, 1.0], [1.0, 1.0, 1.0]]),
        "matrices": np.stack([COVARIANCE, np.eye(3), 2 * COVARIANCE]),
    }[form]
    np.savez(tmp_path / "m.npz", weights=[0.5, 0.25, 0.25], means=means, covariances=spread)
    laws = [
        multivariate_normal(m, c if np.ndim(c) == 2 else np.diag(np.broadcast_to(c, 3)))
        for m, c in zip(means, spread, strict=True)
    ]

    def log_density(x):
        parts = [np.log(w) + law.logpdf(x) for w, law in zip([2, 1, 1], laws, strict=True)]
        return np.logaddexp.reduce(parts, axis=0)

    x = np.vstack([2 * normal(10, 20, 3), [[49.0, 1.0, 0.0]]])
    found = targets.scores(targets.target_named(f"mixture:{tmp_path / 'm.npz'}"), x)
    assert found == pytest.approx(numeric_scores(log_density, x), abs=DIFFERENCES * 50)


def test_scores_of_a_mixture_are_numbers_where_its_density_is_zero(tmp_path):
    np.savez(tmp_path / "m.npz", weights=[0.5, 0.5], means=[[0.0], [1.0]], covariances=[1.0, 1.0])
    found = targets.scores(f"mixture:{tmp_path / 'm.npz'}", np.array([[1e5]]))
    assert found == pytest.approx(np.array([[1 - 1e5]]), abs=ROUNDING(1, scale=1e5))


def test_target_and_its_scores_are_one():
    x = normal(11, 50, 2)
    given = divmatch.ksd(x, scores=-(x - 0.5) / 4.0, bandwidth=1)
    assert SAME(divmatch.ksd(x, target="gaussian:0.5,4", bandwidth=1).value, given.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gauss:0,1", "expected gaussian:MEAN,COV .* did you mean 'gaussian'"),
        ("gaussian:0", "expected gaussian:MEAN,COV"),
        ("mixture:", "expected mixture:FILE.npz"),
        ("gaussian:0,0", "variance that is not above 0"),
        ("gaussian:nan,1", "not a finite number"),
        ("gaussian:none.npy,1", "none.npy: no such file"),
        ("mixture:none.npz", "none.npz: no such file"),
        ("gaussian:wide.npy,1", r"wide.npy has shape \(5,\), but the rows have 2 columns"),
        ("gaussian:0,skew.npy", "skew.npy is no covariance: it is not symmetric"),
        ("gaussian:0,minus.npy", "minus.npy is no covariance: it is not positive definite"),
        ("gaussian:0,holes.npy", "holes.npy: expected finite numbers"),
        ("gaussian:0,words.npy", "words.npy: expected finite numbers"),
        ("none.npz", "none.npz: no such file"),
        (
            "few-arrays.npz",
            "few-arrays.npz: expected an .npz file with weights, means, covariances",
        ),
        ("mixture:negative.npz", "weights must be numbers of at least 0"),
        ("mixture:half.npz", "half.npz::weights sum to 0.5, expected 1"),
        ("mixture:few.npz", r"means has shape \(2, 3\), expected \(2, 2\)"),
        ("mixture:flat.npz", "covariances has shape"),
    ],
)
def test_target_that_is_none_is_one_line(tmp_path, monkeypatch, target, message):
    monkeypatch.chdir(tmp_path)
    np.save("wide.npy", np.zeros(5))
    np.save("skew.npy", np.array([[1.0, 0.5], [0.0, 1.0]]))
    np.save("minus.npy", -np.eye(2))
    np.save("holes.npy", np.array([1.0, np.nan]))
    np.save("words.npy", np.array(["a", "b"]))
    np.savez("negative.npz", weights=[-1, 1], means=np.zeros((2, 2)), covariances=np.ones(2))
    np.savez("few-arrays.npz", weights=[1.0], means=np.zeros((1, 2)))
    np.savez("half.npz", weights=[0.2, 0.3], means=np.zeros((2, 2)), covariances=np.ones(2))
    np.savez("few.npz", weights=[0.5, 0.5], means=np.zeros((2, 3)), covariances=np.ones(2))
    np.savez("flat.npz", weights=[0.5, 0.5], means=np.zeros((2, 2)), covariances=np.ones(3))
    with pytest.raises(DivmatchError, match=message) as caught:
        divmatch.ksd(normal(12, 10, 2), target=target)
    assert "\n" not in str(caught.value)


def test_objects_in_a_target_are_never_unpickled(tmp_path):
    np.save(tmp_path / "m.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DivmatchError, match="never unpickled"):
        divmatch.ksd(normal(12, 10, 2), target=f"gaussian:{tmp_path / 'm.npy'},1")


# -------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("given", [{}, {"scores": np.zeros((10, 2)), "target": "gaussian:0,1"}])
def test_scores_or_target_and_not_both(given):
    with pytest.raises(SettingError, match="give --scores FILE or --target NAME"):
        divmatch.ksd(normal(13, 10, 2), **given)


@pytest.mark.parametrize("shape", [(9, 2), (10, 1), (10, 3), (10,)])
def test_scores_of_another_shape_are_refused(shape):
    with pytest.raises(SampleError, match=r"scores: has .* expected one number for each of the 10"):
        divmatch.ksd(normal(13, 10, 2), scores=np.zeros(shape))


def test_undefined_score_is_refused_with_its_place():
    scores = np.zeros((10, 2))
    scores[4, 1] = np.nan
    with pytest.raises(SampleError, match=r"^scores: 1 row .*row 4, column 1"):
        divmatch.ksd(normal(13, 10, 2), scores=scores)


def codes(found):
    return [note.code for note in found.warnings]


def test_scores_of_the_wrong_sign_are_said():
    x = normal(14, 100, 2)
    found = divmatch.ksd(x, scores=x)
    assert "W32" in codes(found)
    assert "wrong sign" in next(note.message for note in found.warnings if note.code == "W32")


def test_scores_of_one_sign_are_said():
    x = normal(15, 100, 1)
    assert "W32" in codes(divmatch.ksd(x, scores=-0.5 * x**2 - 0.9))


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_true_scores_are_not_doubted(shift):
    x = normal(16, 200, 2) + shift
    assert "W32" not in codes(divmatch.ksd(x, scores=-x))


def test_scores_travel_with_their_rows():
    x = with_beside(as_samples(normal(17, 10, 2), "x"), "scores", normal(18, 10, 2))
    keep = np.array([3, 5, 7])
    assert SAME(x.take(keep).beside["scores"], x.beside["scores"][keep])


# ---------------------------------------------------------------------------------------- test


@METHODS
def test_wild_bootstrap_is_the_form_with_signs(method):
    x = as_samples(normal(19, 40, 2), "x", np.random.default_rng(19).random(40) + 0.1)
    estimator = quantity("ksd").chosen(method)
    settings = estimator.checked({"target": "gaussian:0,1", "bandwidth": 1.0})
    signs = np.where(np.random.default_rng(20).random((40, 3)) < 0.5, 1.0, -1.0)
    found = estimator.plan(x, **settings).statistic(signs)
    w = x.masses()
    z = np.hstack([x.points, -x.points])
    from tests.kernels.test_products import dense

    h = dense("imq", 1.0, z) * np.outer(w, w)
    if method == "u":
        h = (h - np.diag(np.diag(h))) / (1 - w @ w)
    expected = np.einsum("ib,ij,jb->b", signs, h, signs)
    assert found == pytest.approx(expected, abs=ROUNDING(1600, scale=5))


def test_signs_of_one_are_the_estimate():
    found = divmatch.ksd(shifted(21, 300), target="gaussian:0,1", permutations=99)
    assert found.test.p_value == 1 / 100
    assert found.test.method == "wild-bootstrap"


def test_both_forms_have_one_p_value():
    x = normal(22, 60, 2)
    u, v = (divmatch.ksd(x, target="gaussian:0,1", method=m, permutations=99) for m in "uv")
    assert u.test.p_value == v.test.p_value


def test_one_row_has_no_pairs():
    with pytest.raises(InconclusiveError, match="no pairs; only the method v"):
        divmatch.ksd([[1.0]], target="gaussian:0,1", bandwidth=1)


@pytest.mark.slow
@METHODS
@KERNELS
@pytest.mark.parametrize("d", [1, 4])
def test_p_values_are_uniform_at_the_target(method, kernel, d):
    p = np.array(
        [
            divmatch.ksd(
                normal(seed, 100, d),
                target="gaussian:0,1",
                kernel=kernel,
                method=method,
                permutations=39,
                seed=seed,
            ).test.p_value
            for seed in range(600)
        ]
    )
    levels = np.array([0.05, 0.1, 0.25, 0.5, 0.75])
    share = (p[:, None] <= levels + 1e-9).mean(axis=0)
    se = np.sqrt(levels * (1 - levels) / 600)
    assert np.abs(share - levels).max() <= LUCK(se.max(), z=4)


@pytest.mark.slow
@KERNELS
def test_interval_covers(kernel):
    truth = 0.64 * (
        (1 + 2 / 1.5**2) ** -1.5
        if kernel == "gaussian"
        else quad(lambda r: (1.5**2 + 2 * r) ** -0.5 * chi2.pdf(r, 3), 0, np.inf)[0]
    )
    hits = 0
    for seed in range(400):
        found = divmatch.ksd(
            shifted(seed, 300), target="gaussian:0,1", kernel=kernel, bandwidth=1.5
        )
        hits += found.ci.low <= truth <= found.ci.high
    assert hits / 400 == pytest.approx(0.95, abs=LUCK(math.sqrt(0.95 * 0.05 / 400), z=3))


def test_shifted_gaussian_has_the_discrepancy_of_the_record():
    """KSD²(N(m, 1) || N(0, 1)) = m² (1 + 2/s²)^(−1/2), by Gauss and Hermite's nodes as weighted rows."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    settings = {"target": "gaussian:0,1", "method": "v", "kernel": "gaussian", "bandwidth": 1}
    found = divmatch.ksd(nodes + 0.8, weights=weights, **settings)
    assert found.value == pytest.approx(0.3695041723, abs=1e-9)


def test_target_on_a_simplex_is_refused():
    with pytest.raises(SettingError, match="lives on a simplex alone"):
        divmatch.ksd(normal(1, 10, 2), target="dirichlet:1,2")
