"""Sums over pairs: the twins against each other, both against loops; tiles, threads, memory."""

import inspect
import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from divmatch.kernels import cpu, forms, gpu, pairwise
from divmatch.kernels.centred import prepared
from divmatch.kernels.execution import executing
from divmatch.kernels.forms import quadratic_forms
from divmatch.kernels.pairwise import (
    Profile,
    all_cross_sums,
    all_self_sums,
    cross_sums,
    log_sums,
    matched,
    product,
    self_sums,
)
from tests.reference.mmd import kernel as plain_kernel
from tests.reference.pairs import between, euclidean
from tests.tolerances import ROUNDING, SAME

PROFILES = [
    Profile("distance", 1.0),
    Profile("distance", 0.5),
    Profile("distance", 1.5),
    Profile("distance", 2.0),
    Profile("cityblock", 1.0),
    Profile("gaussian", 0.8),
    Profile("laplace", 1.3),
    Profile("imq", 0.7),
    Profile("mix", 1.1),
    Profile("matern12", 0.9),
    Profile("matern32", 0.9),
    Profile("matern52", 1.4),
    Profile("rq", 0.6),
]
EVERY_PROFILE = pytest.mark.parametrize(
    "profile", PROFILES, ids=[f"{p.name} {p.scale}" for p in PROFILES]
)
BORDERS = pytest.mark.parametrize("n", [255, 256, 257, 513])
COLUMNS = pytest.mark.parametrize("d", [1, 2, 3, 4, 7, 20])


@pytest.fixture(params=["array module", "compiled"])
def engine(request, monkeypatch):
    """Each twin in turn, whatever the size."""
    compiled_from = 0.0 if request.param == "compiled" else np.inf
    monkeypatch.setattr(pairwise, "COMPILED_FROM", compiled_from)
    with executing(device="cpu"):
        yield request.param


def rows(n, d, seed=0):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def dense(profile, x, y):
    """The whole matrix, from SciPy's distances."""
    distances = cdist(
        x, y, "cityblock" if profile.name in {"laplace", "cityblock"} else "euclidean"
    )
    s = profile.scale

    def gaussian(width):
        return np.exp(-(distances**2) / (2 * width**2))

    def matern(nu):
        from scipy.special import gamma, kv

        u = np.sqrt(2 * nu) * np.maximum(distances, 1e-30) / s
        return np.where(distances > 0, 2 ** (1 - nu) / gamma(nu) * u**nu * kv(nu, u), 1.0)

    return {
        "distance": lambda: distances**s,
        "cityblock": lambda: distances,
        "gaussian": lambda: gaussian(s),
        "laplace": lambda: np.exp(-distances / s),
        "imq": lambda: 1 / np.sqrt(s**2 + distances**2),
        "mix": lambda: sum(gaussian(c * s) for c in (0.25, 0.5, 1, 2, 4)) / 5,
        "matern12": lambda: matern(0.5),
        "matern32": lambda: matern(1.5),
        "matern52": lambda: matern(2.5),
        "rq": lambda: 1 / (1 + distances**2 / (2 * s**2)),
    }[profile.name]()


def plain(profile):
    """The profile as a function of two lists."""
    if profile.name == "distance":
        return lambda s, t: euclidean(s, t) ** profile.scale
    names = {"matern12": "matern:0.5", "matern32": "matern:1.5", "matern52": "matern:2.5"}
    return plain_kernel(names.get(profile.name, profile.name), profile.scale)


# ------------------------------------------------------------------------------------- twins


def test_twins_hold_the_same_names():
    assert cpu.__all__ == gpu.__all__


@pytest.mark.parametrize("name", cpu.__all__)
def test_twins_take_the_same_parameters(name):
    left, right = getattr(cpu, name), getattr(gpu, name)
    if not callable(left):
        assert type(left) is type(right)
        return
    names = [list(inspect.signature(twin).parameters) for twin in (left, right)]
    assert names[0] == names[1]


@EVERY_PROFILE
@COLUMNS
def test_twins_agree_on_a_tile(profile, d):
    x, y = rows(40, d), rows(33, d, 1)
    compiled = cpu.tile(x, y, profile.name, profile.scale)
    arrays = gpu.tile(x, y, profile.name, profile.scale)
    assert compiled == pytest.approx(arrays, abs=ROUNDING(d, scale=10))


@EVERY_PROFILE
def test_twins_agree_far_away(profile):
    x, y = rows(5, 3), rows(4, 3, 1) + 1e4
    compiled = cpu.tile(x, y, profile.name, profile.scale)
    arrays = gpu.tile(x, y, profile.name, profile.scale)
    assert compiled == pytest.approx(arrays, abs=ROUNDING(3, scale=1 + arrays.max()))


@EVERY_PROFILE
def test_twins_agree_on_a_tile_of_one_pair(profile):
    x, y = rows(1, 2), rows(1, 2, 1)
    compiled = cpu.tile(x, y, profile.name, profile.scale)
    assert compiled == pytest.approx(
        gpu.tile(x, y, profile.name, profile.scale), abs=ROUNDING(2, scale=4)
    )


@pytest.mark.parametrize("twin", [cpu, gpu], ids=["compiled", "array module"])
@EVERY_PROFILE
def test_equal_rows_far_from_zero_are_at_distance_zero(twin, profile):
    x = np.repeat(rows(3, 5) + 1e8, 2, axis=0)
    found = twin.tile(x, x.copy(), profile.name, profile.scale)
    at_zero = np.array([found[0, 1], found[2, 3], found[4, 5], *np.diag(found)])
    expected = np.full(9, profile.at_zero)
    assert at_zero == pytest.approx(expected, abs=ROUNDING(1) if profile.at_zero else 0.0)


def test_exponential_of_the_compiled_twin_is_exact_to_a_few_units():
    gaps = np.sqrt(np.linspace(0.0, 1400.0, 4001))[:, None]
    found = cpu.tile(gaps, np.zeros((1, 1)), "gaussian", 1.0)[:, 0]
    exact = np.exp(-0.5 * gaps[:, 0] ** 2)
    # the exponent itself is rounded: half a unit of it is its size times eps / 2
    relative = np.abs(found / exact - 1)
    assert relative.max() <= ROUNDING(1, scale=0.5 * 700)


# ------------------------------------------------------------------------------------- loops


@EVERY_PROFILE
@pytest.mark.parametrize("n", [1, 64, 65, 130])
def test_matched_rows_are_the_diagonal(engine, profile, n):
    x, y = rows(n, 3), rows(n, 3, 1)
    expected = np.diag(dense(profile, x, y))
    assert matched(profile, x, y) == pytest.approx(expected, abs=ROUNDING(3, scale=50))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (13, 9), (300, 700)])
@pytest.mark.parametrize("gap", [0.0, 3.0, 100.0])
def test_log_sums_are_logarithms_of_the_sums(engine, n, m, gap):
    from scipy.special import logsumexp

    x, y, b = rows(n, 2), rows(m, 2, 1) + gap, np.random.default_rng(4).random(m)
    expected = logsumexp(-0.5 * cdist(x, y, "sqeuclidean"), axis=1, b=b)
    assert log_sums(x, y, np.log(b)) == pytest.approx(expected, rel=ROUNDING(m), abs=ROUNDING(m))


@pytest.mark.parametrize("n", [2, 13, 600])
def test_log_sums_leave_out_a_row(engine, n):
    from scipy.special import logsumexp

    x, b = rows(n, 2), np.random.default_rng(5).random(n)
    exponents = -0.5 * cdist(x, x, "sqeuclidean")
    np.fill_diagonal(exponents, -np.inf)
    found = log_sums(x, x, np.log(b), np.arange(n))
    assert found == pytest.approx(logsumexp(exponents, axis=1, b=b), rel=1e-12, abs=ROUNDING(n))


def test_log_sum_of_nothing_is_the_logarithm_of_zero(engine):
    x = rows(1, 2)
    assert log_sums(x, x, np.zeros(1), np.arange(1)).tolist() == [-np.inf]


def test_log_sums_do_not_depend_on_the_threads(monkeypatch):
    from divmatch.kernels import execution

    monkeypatch.setattr(execution, "THREADS_FROM", 0.0)
    x, y = rows(600, 2), rows(500, 2, 1)
    found = []
    for threads in (1, 3):
        with executing(threads=threads, device="cpu"):
            found.append(log_sums(x, y, np.zeros(500)))
    assert SAME(*found)


@EVERY_PROFILE
@pytest.mark.parametrize("d", [1, 3])
def test_cross_sums_equal_the_loops(engine, profile, d):
    x, y, rng = rows(13, d), rows(9, d, 1), np.random.default_rng(2)
    a, b = rng.random(13), rng.random(9)
    k = plain(profile)
    along = [between([row], y.tolist(), [1.0], b.tolist(), k) for row in x.tolist()]
    down = [between(x.tolist(), [row], a.tolist(), [1.0], k) for row in y.tolist()]
    found = cross_sums(profile, x, y, a, b)
    assert np.concatenate(found) == pytest.approx([*along, *down], abs=ROUNDING(13, scale=50))


@EVERY_PROFILE
@pytest.mark.parametrize("d", [1, 3])
def test_self_sums_equal_the_loops(engine, profile, d):
    x, a = rows(13, d), np.random.default_rng(3).random(13)
    expected = [between([r], x.tolist(), [1.0], a.tolist(), plain(profile)) for r in x.tolist()]
    assert self_sums(profile, x, a) == pytest.approx(expected, abs=ROUNDING(13, scale=50))


@EVERY_PROFILE
@pytest.mark.parametrize("d", [1, 3])
def test_quadratic_forms_equal_the_loops(engine, profile, d):
    z, v = rows(11, d), np.random.default_rng(4).normal(size=(11, 3))
    w, lists = np.arange(11.0), z.tolist()
    marked = (v.T * w).tolist()
    expected = [between(lists, lists, c, c, plain(profile)) for c in marked]
    mixed = [between(lists, lists, w.tolist(), c, plain(profile)) for c in marked]
    total = between(lists, lists, w.tolist(), w.tolist(), plain(profile))
    found = quadratic_forms(profile, z, v, w)
    close = {"abs": ROUNDING(121, scale=5000)}
    assert found[0] == pytest.approx(expected, **close)
    assert found[1] == pytest.approx(mixed, **close)
    assert found[2] == pytest.approx(total, **close)


# ------------------------------------------------------------------------------------- tiles


@EVERY_PROFILE
@BORDERS
@pytest.mark.parametrize("others", [1, 511, 513])
def test_cross_sums_at_the_border_of_tiles(engine, profile, n, others):
    x, y, rng = rows(n, 2), rows(others, 2, 1), np.random.default_rng(5)
    a, b = rng.random(n), rng.random(others)
    matrix = dense(profile, x, y)
    expected = np.concatenate([matrix @ b, a @ matrix])
    found = np.concatenate(cross_sums(profile, x, y, a, b))
    assert found == pytest.approx(expected, abs=ROUNDING(n + others, scale=expected.max()))


@EVERY_PROFILE
@BORDERS
def test_self_sums_at_the_border_of_tiles(engine, profile, n):
    x, a = rows(n, 2), np.random.default_rng(6).random(n)
    expected = dense(profile, x, x) @ a
    assert self_sums(profile, x, a) == pytest.approx(
        expected, abs=ROUNDING(n, scale=expected.max())
    )


@EVERY_PROFILE
@BORDERS
def test_quadratic_forms_at_the_border_of_tiles(engine, profile, n):
    z, v = rows(n, 2), np.random.default_rng(7).normal(size=(n, 4))
    w = np.linspace(0.5, 1.5, n)
    matrix = dense(profile, z, z)
    terms = (1.5 * np.abs(v).max() + 1.5) ** 2 * matrix.sum()
    own, mixed, total = quadratic_forms(profile, z, v, w)
    v = v * w[:, None]
    assert own == pytest.approx(np.diag(v.T @ matrix @ v), abs=ROUNDING(n, scale=terms))
    assert mixed == pytest.approx(w @ matrix @ v, abs=ROUNDING(n, scale=terms))
    assert total == pytest.approx(w @ matrix @ w, abs=ROUNDING(n, scale=terms))


@EVERY_PROFILE
@BORDERS
def test_products_at_the_border_of_tiles(engine, profile, n):
    x, y, v = rows(n, 2), rows(513, 2, 1), np.random.default_rng(8).normal(size=(513, 3))
    matrix = dense(profile, x, y)
    terms = (matrix @ np.abs(v)).max()
    assert product(profile, x, y, v) == pytest.approx(matrix @ v, abs=ROUNDING(513, scale=terms))


# ------------------------------------------------------------------- threads, memory, device


@EVERY_PROFILE
def test_two_threads_give_the_same_bits(engine, profile):
    x, y, rng = rows(700, 3), rows(900, 3, 1), np.random.default_rng(9)
    a, b, v = rng.random(700), rng.random(900), rng.random((700, 5))

    def everything():
        along, down = cross_sums(profile, x, y, a, b)
        own, mixed, total = quadratic_forms(profile, x, v, a)
        return np.concatenate([along, down, self_sums(profile, x, a), own, mixed, [total]])

    with executing(threads=1):
        one = everything()
    with executing(threads=2):
        assert SAME(one, everything())


@pytest.mark.skipif(not hasattr(cpu.pairwise.gaussian, "signatures"), reason="loops run uncompiled")
@pytest.mark.parametrize("work", ["cross", "self", "forms"])
def test_nothing_of_the_size_of_all_pairs_is_allocated(work):
    n = 20_000
    x, y, a = rows(n, 3), rows(n, 3, 1), np.full(n, 1 / n)
    profile = Profile("gaussian", 1.0)
    kinds = {
        "cross": lambda: cross_sums(profile, x, y, a, a),
        "self": lambda: self_sums(profile, x, a),
        "forms": lambda: quadratic_forms(profile, x, a[:, None] * np.ones(4), a),
    }
    cross_sums(profile, x[:300], y[:300], a[:300], a[:300])  # loading is not counted
    with executing(device="cpu", threads=2):
        tracemalloc.start()
        kinds[work]()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    tile = 8 * np.prod(pairwise.twin(np.inf, 0.0).tile_shape(x))
    assert peak < 16 * tile + 100 * 8 * n  # n × m would be 3200 MB; this is 32


def test_profile_at_zero_is_its_value_for_equal_rows():
    for profile in PROFILES:
        assert profile.at_zero == pytest.approx(plain(profile)([1.0], [1.0]), abs=ROUNDING(1))


@pytest.mark.parametrize("tight", [0, 30], ids=["few near pairs", "many"])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e9])
@pytest.mark.parametrize("twin", [cpu, gpu], ids=["compiled", "array module"])
def test_squares_of_many_columns_keep_their_digits(twin, offset, tight):
    """Far from zero, in tight clusters, among outliers: as exact as differences are."""
    x, y = rows(60, 24) + offset, rows(70, 24, 1) + offset
    y[:5] = x[:5]
    y[5:9] = x[5:9] + 1e-6 * rows(4, 24, 3)
    if tight:
        x[:tight] = x[0] + 1e-7 * rows(tight, 24, 2)  # most of their neighbours are near
        y[:5], y[9] = x[:5], 1e12
    exact = cdist(x, y, "sqeuclidean")
    centre = y.mean(axis=0)
    found = twin.squared_distances(prepared(x, centre), prepared(y, centre))
    assert (np.diag(found)[:5] == 0).all()
    assert found == pytest.approx(exact, rel=64 * np.finfo(float).eps)


@pytest.mark.parametrize("engine", ["array module", "compiled"], indirect=True)
def test_profiles_that_share_distances_have_their_digits(engine):
    x, y, a, b = rows(300, 20), rows(280, 20, 1), np.full(300, 1 / 300), np.full(280, 1 / 280)
    both = [Profile("distance", 1.0), Profile("gaussian", 5.0), Profile("imq", 2.0)]
    across, own = all_cross_sums(both, x, y, a, b), all_self_sums(both, x, a)
    for profile, sums, among in zip(both, across, own, strict=True):
        assert SAME(np.concatenate(cross_sums(profile, x, y, a, b)), np.concatenate(sums))
        assert SAME(self_sums(profile, x, a), among)


# ------------------------------------------------------------------------------- single precision

IN_SINGLE = pytest.mark.parametrize(
    "profile",
    [Profile("distance", 1.0), Profile("distance", 0.5), *(Profile(n, 1.5) for n in forms.SINGLE)],
    ids=lambda profile: f"{profile.name} {profile.scale}",
)


def shares(profile, z, marks):
    """Forms of marks as shares of the mean entry, of which a test's statistic is made."""
    own, mixed, total = quadratic_forms(profile, z, marks, np.ones(len(z)))
    return np.concatenate([own, mixed]) / total


@IN_SINGLE
@pytest.mark.parametrize("d", [3, 20])
def test_single_precision_keeps_seven_digits_of_forms(monkeypatch, engine, profile, d):
    z, marks = 40.0 + rows(600, d), np.random.default_rng(0).random((600, 4)) < 0.5
    double = shares(profile, z, marks)
    monkeypatch.setattr(forms, "SINGLE_FROM", 500)
    found = shares(profile, z, marks)
    assert (found != double).all()
    assert found == pytest.approx(double, abs=1e-6)


def test_rows_far_from_zero_keep_their_differences_in_single_precision(monkeypatch, engine):
    z, marks = rows(600, 3), np.random.default_rng(0).random((600, 4)) < 0.5
    near = shares(Profile("gaussian", 1.0), z, marks)
    monkeypatch.setattr(forms, "SINGLE_FROM", 500)
    assert shares(Profile("gaussian", 1.0), z + 1e8, marks) == pytest.approx(near, abs=1e-6)


@IN_SINGLE
def test_equal_splits_are_equal_in_single_precision(monkeypatch, engine, profile):
    """Halves exchanged, or at other places among the columns: within the rounding of a tie."""
    monkeypatch.setattr(forms, "SINGLE_FROM", 500)
    z, one = rows(900, 3), np.random.default_rng(0).random((900, 7)) < 0.5
    marks = np.column_stack([one, one[:, ::-1], ~one])
    own, mixed, total = quadratic_forms(profile, z, marks, np.ones(900))
    sizes = marks.sum(0)
    statistic = (mixed - own) / (sizes * (900 - sizes))
    first, second, third = np.split(statistic, 3)
    tie = forms.rounding(900) * total / 900**2
    assert np.abs(first - second[::-1]).max() <= tie
    assert np.abs(first - third).max() <= tie


@pytest.mark.parametrize(
    ("profile", "z"),
    [
        (Profile("gaussian", 1e-4), rows(600, 3)),
        (Profile("distance", 0.2), rows(600, 3)),
        (Profile("gaussian", 1e20), 1e20 * rows(600, 3)),
        (Profile("mix", 1.0), rows(600, 3)),
    ],
    ids=["narrow", "steep", "huge", "mix"],
)
def test_what_single_precision_cannot_hold_stays_double(monkeypatch, profile, z):
    marks = np.random.default_rng(0).random((600, 4)) < 0.5
    double = shares(profile, z, marks)
    monkeypatch.setattr(forms, "SINGLE_FROM", 500)
    assert (shares(profile, z, marks) == double).all()
