"""Max-sliced, distributional and generalised sliced distances, control variates, any order."""

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.estimator import influence_se, quantity
from divmatch.kernels.directions import controlled, directions
from divmatch.kernels.slices import Slices
from divmatch.randomness import stream
from divmatch.samples import as_samples
from divmatch.transport.sliced_distributional import Search, uniform_cosine
from tests.reference import sliced as reference
from tests.reference import slicings
from tests.tolerances import LUCK, ROUNDING

FITTED = pytest.mark.parametrize("method", ["max", "distributional"])


def generator(seed=0):
    return np.random.default_rng(seed)


def pair(n=60, m=45, d=3, seed=0, shift=0.5):
    rng = generator([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.2 + shift


def estimate(x, y, method, **settings):
    """The estimate of arrays or samples, with its influences."""
    chosen = quantity("sliced").chosen(method)
    samples = as_samples(x, "x"), as_samples(y, "y")
    return chosen(*samples, **chosen.checked(settings), rng=stream(0, "test"))


def isotropic(n=4000):
    """|Δ|² = 6.25, standard deviations 1 and 2 in five columns."""
    rng = generator(2)
    return rng.normal(size=(n, 5)), 2 * rng.normal(size=(n, 5)) + 1.25**0.5


def anisotropic(n=20_000):
    rng = generator(3)
    return rng.normal(size=(n, 2)) * [2, 1], rng.normal(size=(n, 2))


# --------------------------------------------------------------------------------- any order


@pytest.mark.parametrize("p", [1.5, 3, 10])
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_any_order_equals_the_reference(p, d, weighted):
    x, y = pair(17, 12, d)
    a = generator(1).random(17) if weighted else np.ones(17)
    found = divmatch.sliced(x, y, p=p, projections=8, weights_x=a).value
    vectors = directions(d, 8, stream(0, "sliced", "method")).vectors
    oracle = reference.sliced(x, y, a / a.sum(), [1 / 12] * 12, p, vectors)
    assert found == pytest.approx(oracle, rel=1e-12)


@pytest.mark.parametrize("p", [3, 40])
def test_high_orders_do_not_overflow(p):
    x, y = pair()
    small, large = (divmatch.sliced(2.0**k * x, 2.0**k * y, p=p).value for k in (-200, 200))
    assert large == 2.0**400 * small


@pytest.mark.parametrize("method", ["w", "max", "distributional"])
def test_powers_too_small_for_numbers_are_no_zero(method):
    with pytest.raises(InconclusiveError, match="choose a smaller -p"):
        divmatch.sliced(*pair(), p=1000, method=method)
    assert divmatch.sliced(pair()[0], pair()[0][::-1], p=1000, method=method).value == 0.0


def test_infinite_order_is_refused():
    with pytest.raises(SettingError, match="-p inf: expected riesz or a number at least 1"):
        divmatch.sliced(*pair(), p=float("inf"))


@pytest.mark.parametrize("p", [1.5, 3])
def test_noise_of_any_order_is_about_the_mean_under_equality(p):
    rng, values, noises = generator(4), [], []
    for _ in range(30):
        found = divmatch.sliced(rng.random((200, 4)), rng.random((300, 4)), p=p)
        values.append(found.value**p)
        noises.append(found.params["noise"] ** p)
    assert np.mean(noises) == pytest.approx(
        np.mean(values), rel=0.15
    )  # halves are noisy themselves


# --------------------------------------------------------------------------------- max-sliced


def test_max_of_isotropic_gaussians():
    found = estimate(*isotropic(), "max")
    se = influence_se(found, *(as_samples(z, "z") for z in isotropic()))
    assert found.value == pytest.approx(7.25**0.5, abs=LUCK(se, bias=found.bias))


def test_max_of_anisotropic_gaussians():
    found = estimate(*anisotropic(), "max")
    se = influence_se(found, *(as_samples(z, "z") for z in anisotropic()))
    assert found.value == pytest.approx(1.0, abs=LUCK(se, bias=found.bias))


def test_max_names_the_direction():
    found = divmatch.sliced(*anisotropic(), method="max").params["direction"]
    assert found == {"0": pytest.approx(1.0, abs=0.01), "1": pytest.approx(0.0, abs=0.05)}


def best_in_the_plane(x, y, p):
    angles = np.pi * np.arange(4000) / 4000
    grid = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return Slices(x, y, p).costs(grid).max() ** (1 / p)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("m", [50, 40])
def test_max_in_the_plane_equals_a_fine_grid(p, m):
    x, y = pair(50, m, 2, shift=0.2)
    found = divmatch.sliced(x, y, method="max", p=p).value
    assert found == pytest.approx(best_in_the_plane(x, y, p), rel=1e-4)


@pytest.mark.parametrize("seed", [10, 37, 51, 53])
def test_max_of_ties_is_no_lower_than_a_fine_grid(seed):
    """Whole numbers leave kinks and many maxima."""
    rng = generator(seed)
    x, y = (rng.integers(0, 10, (30, 2)).astype(float) for _ in range(2))
    found = divmatch.sliced(x, y, method="max", p=1).value
    assert found >= best_in_the_plane(x, y, 1) * (1 - 1e-4)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_max_is_above_every_direction_and_below_the_whole(p):
    x, y = pair(40, 40, 4)
    found = divmatch.sliced(x, y, method="max", p=p).value
    assert divmatch.sliced(x, y, p=p).value <= found <= divmatch.ot(x, y, p=p).value


def clusters(seed, n=60, d=6):
    rng = generator(seed)
    x, y = (rng.choice(places, (n, d)) for places in ([-3.0, 3.0], [-3.0, 0.0, 3.0]))
    return x + 0.1 * rng.normal(size=(n, d)), y + 0.1 * rng.normal(size=(n, d))


def test_max_that_no_moment_leads_to_is_told():
    told = [divmatch.sliced(*clusters(2, d=d), method="max") for d in (6, 2)]
    assert [any(note.code == "W18" for note in one.warnings) for one in told] == [True, False]


def test_more_starts_find_no_more_in_a_clear_case():
    x, y = pair(300, 300, 8, shift=0.3)
    few, many = (divmatch.sliced(x, y, method="max", starts=s).value for s in (10, 60))
    assert few == pytest.approx(many, rel=1e-5)


@FITTED
def test_turned_rows_have_the_same_distance(method):
    x, y = pair(80, 70, 3)
    turn = np.linalg.qr(generator(1).normal(size=(3, 3)))[0]
    found, turned = (estimate(*z, method) for z in ((x, y), (x @ turn, y @ turn)))
    error = (found.error or 0.0) + (turned.error or 0.0)
    assert turned.value == pytest.approx(found.value, rel=1e-5, abs=3 * error)


@FITTED
def test_whole_weights_are_repeated_rows(method):
    x, y = pair(30, 24, 3)
    times = np.arange(30) % 3 + 1
    found = divmatch.sliced(x, y, method=method, weights_x=times)
    repeated = divmatch.sliced(np.repeat(x, times, axis=0), y, method=method)
    assert found.value == pytest.approx(repeated.value, rel=1e-4)


@FITTED
@pytest.mark.parametrize("p", [1, 2])
def test_one_column_is_the_plain_distance(method, p):
    x, y = pair(d=1)
    found = divmatch.sliced(x, y, method=method, p=p)
    assert found.value == pytest.approx(divmatch.sliced(x, y, p=p).value, rel=1e-12)
    assert found.exact


@FITTED
def test_zero_for_equal_files(method):
    x, _ = pair(40, 1, 3)
    assert divmatch.sliced(x, x.copy(), method=method).value == 0.0


@FITTED
def test_many_columns_of_one_distribution_are_marked(method):
    rng = generator(5)
    found = divmatch.sliced(rng.normal(size=(60, 10)), rng.normal(size=(60, 10)), method=method)
    assert "W04" in [note.code for note in found.warnings]


@FITTED
def test_a_difference_in_one_column_is_found(method):
    rng = generator(6)
    x, y = rng.normal(size=(50, 6)), rng.normal(size=(50, 6))
    y[:, 2] *= 4
    assert divmatch.sliced(x, y, method=method, permutations=19).test.p_value == 1 / 20


@FITTED
def test_energy_has_no_largest_direction(method):
    with pytest.raises(SettingError, match="riesz belongs to w"):
        divmatch.sliced(*pair(), method=method, p="riesz")


# ---------------------------------------------------------------------------- distributional


@pytest.mark.parametrize("d", [2, 3, 10, 100])
def test_uniform_cosine(d):
    known = {2: 0.6366198, 3: 0.5, 10: 0.2586944, 100: 0.0799904}
    assert uniform_cosine(d) == pytest.approx(known[d], rel=1e-3)


def test_distributional_lies_between_the_sliced_and_the_largest():
    x, y = pair(200, 200, 4)
    found = [divmatch.sliced(x, y, method="distributional", cosine=c) for c in (0.5, 0.7, 0.9, 1.0)]
    values = [one.value for one in found]
    largest = divmatch.sliced(x, y, method="max").value
    assert [found[0].params["sliced"], *values] == sorted([found[0].params["sliced"], *values])
    assert values[-1] == pytest.approx(largest, rel=1e-5)


def test_distributional_keeps_its_bound():
    x, y = pair(100, 100, 5)
    from divmatch.transport.slicing import Sliced

    search = Search.of(5, "auto", 0.6, generator())
    law = search.best(Sliced.of(as_samples(x, "x"), as_samples(y, "y"), 2), 10)
    assert search.cosines(law) <= 0.6 + ROUNDING(100)
    assert search.cosines(law) > 0.58  # a bound that is used


def test_gradient_of_a_law_is_the_derivative():
    x, y = pair(30, 30, 3)
    from divmatch.transport.slicing import Sliced

    of = Sliced.of(as_samples(x, "x"), as_samples(y, "y"), 2)
    search, law = (
        Search.of(3, "auto", 0.9, generator()),
        np.eye(3) + 0.3 * generator(1).random((3, 3)),
    )
    slope, step = search._slopes(of, law)[1], 1e-6
    for i, j in ((0, 0), (1, 2), (2, 0)):
        move = np.zeros((3, 3))
        move[i, j] = step
        more, less = (search._slopes(of, law + way * move)[0] for way in (1, -1))
        assert slope[i, j] == pytest.approx((more - less) / (2 * step), abs=1e-5)


def test_too_small_a_cosine_is_refused():
    with pytest.raises(SettingError, match=r"--cosine 0.2: .* at least 0.5 on average"):
        divmatch.sliced(*pair(), cosine=0.2)


# -------------------------------------------------------------------------------- generalised


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("d", [1, 2, 4])
def test_circular_equals_the_reference(p, d):
    x, y = pair(17, 12, d)
    found = divmatch.sliced(x, y, p=p, projections=8, slices="circular:2.5").value
    vectors = directions(d, 8, stream(0, "sliced", "method"), whole=True).vectors
    total = 0.0
    for v in vectors.tolist():
        lines = [[slicings.circular(row, v, 2.5) for row in z.tolist()] for z in (x, y)]
        total += reference.transport(*lines, [1 / 17] * 17, [1 / 12] * 12, p) / len(vectors)
    assert found == pytest.approx(total ** (1 / p), rel=1e-10)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_polynomial_equals_the_reference(p):
    x, y = pair(17, 12, 2)
    found = divmatch.sliced(x, y, p=p, projections=8, slices="polynomial:3").value
    vectors = directions(4, 8, stream(0, "sliced", "method")).vectors
    total = 0.0
    for v in vectors.tolist():
        lines = [[slicings.polynomial(row, v, 3) for row in z.tolist()] for z in (x, y)]
        total += reference.transport(*lines, [1 / 17] * 17, [1 / 12] * 12, p) / len(vectors)
    assert found == pytest.approx(total ** (1 / p), rel=1e-10)


def test_polynomial_has_the_unit_of_its_degree():
    assert divmatch.sliced(*pair(), slices="polynomial:3").unit == "data unit^3"


def test_degree_one_is_linear():
    x, y = pair()
    assert divmatch.sliced(x, y, slices="polynomial:1").value == divmatch.sliced(x, y).value


@pytest.mark.parametrize("slices", ["circular:3", "polynomial:3"])
@pytest.mark.parametrize("p", [2, 3])
def test_plan_of_generalised_slices_is_the_estimate(slices, p):
    x, y = pair(20, 16, 2)
    chosen = quantity("sliced").chosen("w")
    settings = chosen.checked({"slices": slices, "p": p}) | {"rng": generator()}
    plan = chosen.plan(as_samples(np.concatenate([x, y]), "pool"), **settings)
    value = plan.statistic((np.arange(36) < 20)[:, None])[0]
    expected = chosen(as_samples(x, "x"), as_samples(y, "y"), **settings).value
    assert value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "slices", ["circular", "circular:0", "circular:x", "polynomial:2", "polynomial:0", "cubic"]
)
def test_unknown_slices_are_refused(slices):
    with pytest.raises(SettingError, match="expected linear, circular:R"):
        divmatch.sliced(*pair(), slices=slices)


def test_too_many_monomials_are_refused():
    with pytest.raises(SettingError, match=r"30 columns have 4,960 monomials"):
        divmatch.sliced(np.ones((3, 30)), np.zeros((3, 30)), slices="polynomial:3")


def test_powers_that_overflow_are_refused():
    with pytest.raises(SampleError, match="too large for its power 3"):
        divmatch.sliced([[1e60]], [[0.0]], slices="polynomial:3")


# --------------------------------------------------------------------------- control variates


@pytest.mark.parametrize("control", ["lower", "quadratic"])
def test_control_is_the_intercept(control):
    x, y = pair(40, 30, 4)
    apart = x.mean(0) - y.mean(0) if control == "lower" else None
    drawn = controlled(4, 60, stream(0, "sliced", "method"), apart)
    table = np.column_stack([np.ones(60), drawn.controls])
    costs = [
        reference.transport(x @ v, y @ v, [1 / 40] * 40, [1 / 30] * 30, 2) for v in drawn.vectors
    ]
    intercept = np.linalg.lstsq(table, np.array(costs))[0][0]
    found = divmatch.sliced(x, y, control=control, projections=60)
    assert found.value**2 == pytest.approx(intercept, rel=1e-11)


def spread(x, y, **settings):
    """Standard deviation over seeds."""
    return np.std([divmatch.sliced(x, y, seed=seed, **settings).value for seed in range(40)])


@pytest.mark.parametrize("d", [3, 5])
def test_evenly_spread_directions_err_less_than_a_control(d):
    x, y = pair(60, 60, d)
    assert spread(x, y) < spread(x, y, control="lower", projections=100)


def test_quadratic_control_errs_less_than_the_lower_one():
    x, y = pair(60, 60, 4)
    y *= [1, 1, 3, 1]
    assert spread(x, y, control="quadratic") < spread(x, y, control="lower")


def test_control_needs_more_directions_than_forms():
    with pytest.raises(SettingError, match="--control quadratic needs at least 14 for 4 columns"):
        divmatch.sliced(*pair(d=4), control="quadratic", projections=12)


@pytest.mark.parametrize("control", ["none", "lower", "quadratic"])
@pytest.mark.parametrize("d", [2, 3, 6])
def test_error_asked_for_is_reached(control, d):
    x, y = pair(60, 50, d, shift=0.1)
    first = divmatch.sliced(x, y, control=control)
    target = first.error["monte_carlo_se"] / first.value / 2
    found = divmatch.sliced(x, y, control=control, error=target)
    assert found.error["monte_carlo_se"] <= target * found.value
    assert found.params["projections"] > first.params["projections"]


def test_monte_carlo_and_sampling_errors_are_apart():
    x, y = pair(300, 300, 6)
    found = estimate(x, y, "w")
    sampling = influence_se(found, as_samples(x, "x"), as_samples(y, "y"))
    whole = divmatch.sliced(x, y)
    monte_carlo = whole.error["monte_carlo_se"]
    assert whole.se == pytest.approx(np.hypot(sampling, monte_carlo), rel=0.2)  # other directions


# ----------------------------------------------------------------------- coverage (minutes long)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "truth"), [(400, 7.25**0.5), (1500, 7.25**0.5)])
def test_interval_of_the_largest_covers(n, truth):
    """As `isotropic`: the best direction is that of the means."""
    rng, held = generator(11), 0
    for seed in range(300):
        x, y = rng.normal(size=(n, 5)), 2 * rng.normal(size=(n, 5)) + 1.25**0.5
        ci = divmatch.sliced(x, y, method="max", seed=seed).ci
        held += ci.low <= truth <= ci.high
    assert 0.92 <= held / 300 <= 0.98


@pytest.mark.slow
def test_interval_of_the_largest_covers_where_scales_differ():
    rng, held = generator(12), 0
    for seed in range(300):
        x, y = rng.normal(size=(600, 3)) * [3, 1, 1], rng.normal(size=(600, 3))
        ci = divmatch.sliced(x, y, method="max", seed=seed).ci
        held += ci.low <= 2.0 <= ci.high
    assert 0.92 <= held / 300 <= 0.98
