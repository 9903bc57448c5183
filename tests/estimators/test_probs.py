"""Row-wise divergences: the toy of the papers, plain loops, SciPy, and the two twins."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr
from scipy.special import softmax as scipy_softmax

from divmatch.errors import SettingError
from divmatch.estimators.best_of_n import bound, divergence_of_chosen, exact
from divmatch.estimators.generators import FIXED, generator
from divmatch.estimators.probabilities import divergence
from divmatch.estimators.probabilities import renyi as renyi_of
from divmatch.estimators.row_means import Mean
from divmatch.estimators.rows import row_kind, row_values
from divmatch.estimators.sinkd import Sinkd, sinkd_eps, sinkd_terms
from divmatch.kernels.rows import COMPILED_FROM, WRONG_P, WRONG_Q, Rows
from tests.reference import rows as reference
from tests.tolerances import ROUNDING, SAME

TEACHER, STUDENT = np.array([[2.0, 1.0, 0.0, -1.0]]), np.array([[1.0, 1.5, 0.5, -2.0]])
TOY = {
    "kl": 0.269218,
    "reverse-kl": 0.268293,
    "js": 0.065657,
    "akl": 0.268734,
    "alphanet:-1": 0.293124,
    "alphanet": 0.293124,
    "neyman": 2 * 0.293124,
    "renyi:0.5": 0.137441,
    "renyi:1": 0.269218,
    "renyi:2": 0.465271,
    "renyi:inf": 0.755259,
}
FAMILIES = ["skew-js:0.1", "skew-js:0.7", "alpha:-1", "alpha:0.3", "alpha:0.5", "alpha:2.5"]
KINDS = [*FIXED, *FAMILIES, "renyi:0.5", "renyi:2", "renyi:inf", "alphanet", "alphanet:0"]
KINDS += ["alphanet:2/3", "akl", "akl:0.8", "bd-kd", "bd-kd:equal"]
TWINS = pytest.mark.parametrize("work", [0.0, 2 * COMPILED_FROM], ids=["numpy", "compiled"])


def values(p, q, kinds, rows=None, **settings):
    found, wrong = row_values(p, q, [row_kind(kind) for kind in kinds], rows, **settings)
    assert not wrong.any()
    return found


def alike(found, truth):
    """Equal but for rounding, and infinite in the same places."""
    finite = np.isfinite(truth)
    gaps = np.abs(found[finite] - truth[finite])
    same = np.array_equal(found[~finite], truth[~finite])
    return same and np.all(gaps <= ROUNDING(30) * (1 + np.abs(truth[finite])))


@pytest.fixture(scope="module")
def pair():
    """Two matrices of probabilities, (40, 30), no zeros."""
    rng = np.random.default_rng(0)
    z = rng.normal(0.0, 2.0, size=(40, 30))
    return scipy_softmax(z, axis=1), scipy_softmax(z + rng.normal(size=z.shape), axis=1)


@pytest.fixture(scope="module")
def gappy(pair):
    """The same with zeros on either side and on both."""
    p, q = pair[0].copy(), pair[1].copy()
    p[:, :4] = 0.0
    q[:, 3:6] = 0.0
    return p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)


@TWINS
@pytest.mark.parametrize("kind", TOY)
def test_toy_of_the_papers(kind, work):
    found = values(TEACHER, STUDENT, [kind], Rows("logits"), work=work)
    assert abs(found[0, 0] - TOY[kind]) < 5e-7


@TWINS
@pytest.mark.parametrize("kind", [*FIXED, *FAMILIES])
@pytest.mark.parametrize("which", ["pair", "gappy"])
def test_f_divergences_are_those_of_the_generators(kind, which, work, request):
    p, q = request.getfixturevalue(which)
    found, truth = values(p, q, [kind], work=work)[:, 0], divergence(generator(kind), p, q)
    assert alike(found, truth)


@TWINS
@pytest.mark.parametrize("order", [0.3, 0.5, 1.0, 2.0, 16.0, math.inf])
@pytest.mark.parametrize("which", ["pair", "gappy"])
def test_renyi_is_that_of_the_vectors(order, which, work, request):
    p, q = request.getfixturevalue(which)
    found, truth = values(p, q, [f"renyi:{order}"], work=work)[:, 0], renyi_of(order, p, q)
    assert alike(found, truth)


LOOPS = {
    "kl": reference.kl,
    "js": lambda p, q: reference.skewed(p, q, 0.5),
    "skew-js:0.1": lambda p, q: reference.skewed(p, q, 0.1) / 0.09,
    "akl": reference.akl,
    "akl:0.8": lambda p, q: reference.akl(p, q, 0.8),
    "bd-kd": reference.balanced,
    "bd-kd:equal": lambda p, q: reference.kl(p, q) + reference.kl(q, p),
    "alphanet:-1": lambda p, q: reference.clipped(p, q, -1.0),
    "alphanet:0": lambda p, q: reference.clipped(p, q, 0.0),
    "alphanet:0.5": lambda p, q: reference.clipped(p, q, 0.5),
    "alphanet:2/3": lambda p, q: reference.clipped(p, q, 2.0, 3.0),
    "alphanet": lambda p, q: max(reference.clipped(p, q, a) for a in (-1.0, 1.0)),
    "renyi:0.5": lambda p, q: reference.renyi(p, q, 0.5),
    "renyi:inf": lambda p, q: reference.renyi(p, q, math.inf),
}


@TWINS
@pytest.mark.parametrize("kind", LOOPS)
def test_each_row_is_the_plain_loop(pair, kind, work):
    truth = np.array([LOOPS[kind](p, q) for p, q in zip(*(m.tolist() for m in pair), strict=True)])
    found = values(*pair, [kind], work=work)[:, 0]
    assert np.all(np.abs(found - truth) <= ROUNDING(30) * (1 + np.abs(truth)))


@pytest.mark.parametrize("kind", ["alphanet:-1", "alphanet:2", "alphanet:0", "akl", "bd-kd"])
def test_both_twins_treat_zeros_alike(gappy, kind):
    left, right = (values(*gappy, [kind], work=work) for work in (0.0, 2 * COMPILED_FROM))
    assert alike(left, right)


def test_kl_and_js_are_scipys(pair):
    p, q = pair
    found = values(p, q, ["kl", "js"])
    truth = np.stack([rel_entr(p, q).sum(axis=1), jensenshannon(p, q, axis=1) ** 2], axis=1)
    assert np.all(np.abs(found - truth) <= ROUNDING(30) * 10)


@TWINS
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_logits_are_softmaxed_at_the_temperature(temperature, work):
    rng = np.random.default_rng(1)
    z, w = rng.normal(size=(2, 20, 15)) * 3
    p, q = (scipy_softmax(m / temperature, axis=1) for m in (z, w))
    found = values(z, w, ["kl", "tv"], Rows("logits", 1 / temperature), work=work)
    assert np.all(np.abs(found - values(p, q, ["kl", "tv"])) <= ROUNDING(15) * 10)


@TWINS
def test_logits_beyond_the_range_of_probabilities_have_a_divergence(work):
    z, w = np.array([[0.0, -900.0]]), np.array([[-900.0, 0.0]])
    assert abs(values(z, w, ["kl"], Rows("logits"), work=work)[0, 0] - 900.0) < ROUNDING(2) * 900


FAR_ROWS = [  # logits of P and Q: masses far below the smallest number, on one side or on both
    ([0.0, -800.0, -1.0], [0.0, -1700.0, -2.0]),
    ([0.0, -1700.0, -1.0], [0.0, -800.0, -2.0]),
    ([0.0, -900.0, -690.0], [-900.0, 0.0, -1000.0]),
    ([0.0, -690.0, -3.0], [0.0, -1300.0, -3.5]),
    ([0.0, -900.0, -np.inf], [-900.0, 0.0, -2.0]),
    ([0.0, -1e4, -0.5], [0.0, -1.0, -1e4]),
]
LOG_KINDS = [
    "chi2",
    "neyman",
    "alpha:2.5",
    "alpha:-1.5",
    "alpha:0.4",
    "renyi:2",
    "renyi:0.5",
    "renyi:5",
]


@TWINS
@pytest.mark.parametrize("kind", LOG_KINDS)
@pytest.mark.parametrize("which", range(len(FAR_ROWS)))
def test_masses_below_every_number_count_by_their_logarithms(which, kind, work):
    z, w = (np.array([row]) for row in FAR_ROWS[which])
    truth = reference.of_logits(kind, z[0].tolist(), w[0].tolist())
    found = values(z, w, [kind], Rows("logits"), work=work)[0, 0]
    # logarithms up to 10⁴ are rounded before their exponentials are taken
    assert found == pytest.approx(truth, rel=4 * 1e4 * np.finfo(float).eps)


@TWINS
def test_a_far_class_changes_no_digit_of_the_other_rows(work):
    rng = np.random.default_rng(3)
    z, w = rng.normal(size=(2, 6, 4))
    far = z.copy()
    far[2, 1] = -2000.0
    others = np.arange(6) != 2
    found, expected = (values(rows, w, LOG_KINDS, Rows("logits"), work=work) for rows in (far, z))
    assert SAME(found[others], expected[others])


@TWINS
def test_a_class_ruled_out_by_minus_infinity_costs_infinity(work):
    z, w = np.zeros((1, 3)), np.array([[0.0, 0.0, -np.inf]])
    assert values(z, w, ["kl", "reverse-kl"], Rows("logits"), work=work)[0, 0] == math.inf
    assert abs(values(w, z, ["kl"], Rows("logits"), work=work)[0, 0] - math.log(1.5)) < 1e-15


@TWINS
def test_counts_are_shares(work):
    counts, others = np.array([[3, 1, 0]]), np.array([[1, 1, 2]], dtype=np.int16)
    found = values(counts, others, ["tv", "reverse-kl"], Rows("counts"), work=work)
    assert found[0].tolist() == [0.5, math.inf]


@TWINS
@pytest.mark.parametrize("kind", KINDS)
def test_equal_rows_are_at_zero(pair, kind, work):
    p = pair[0]
    found = values(p, p.copy(), [kind], work=work)
    assert SAME(found, np.zeros((40, 1)))


@TWINS
def test_nearly_equal_rows_keep_their_digits(work):
    gap = 1e-7
    p, q = np.array([[0.5, 0.5]]), np.array([[0.5 + gap, 0.5 - gap]])
    truth = 2 * (p[0, 0] - q[0, 0]) ** 2  # KL of two coins, to the next order in gap²
    assert abs(values(p, q, ["kl"], work=work)[0, 0] / truth - 1) < 1e-8


@TWINS
def test_tiny_masses_neither_overflow_nor_vanish(work):
    p, q = np.array([[1.0, 1e-200]]), np.array([[1e-320, 1.0]])
    truth = -math.log(1e-320) + 1e-200 * math.log(1e-200)
    found = values(p, q, ["kl", "renyi:inf"], work=work)
    assert np.all(np.abs(found - truth) <= ROUNDING(2) * truth)


@TWINS
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f8"])
def test_input_types(pair, kind, work):
    p, q = (m.astype(kind) for m in pair)
    exact_rows = [m.astype(np.float64) for m in (p, q)]
    p64, q64 = (m / m.sum(axis=1, keepdims=True) for m in exact_rows)
    found = values(p, q, ["js"], Rows(tolerance=1e-2), work=work)
    assert np.all(np.abs(found - values(p64, q64, ["js"])) <= ROUNDING(30))


@TWINS
@pytest.mark.parametrize(
    "row", [[0.5, 0.6], [1.5, -0.5], [np.nan, 1.0], [np.inf, 0.0], [-0.5, np.nan]]
)
def test_rows_that_are_no_distribution_are_marked(row, work):
    good = np.full((3, 2), 0.5)
    bad = good.copy()
    bad[1] = row
    kinds = [row_kind("kl")]
    assert row_values(bad, good, kinds, work=work)[1].tolist() == [0, WRONG_P, 0]
    assert row_values(good, bad, kinds, work=work)[1].tolist() == [0, WRONG_Q, 0]


@TWINS
def test_rows_left_out_are_not_looked_at(work):
    p = np.array([[np.nan, 1.0], [0.5, 0.5]])
    found, wrong = row_values(p, p, [row_kind("kl")], keep=np.array([False, True]), work=work)
    assert (found.tolist(), wrong.tolist()) == ([[0.0], [0.0]], [0, 0])


@TWINS
def test_ties_in_the_head_are_taken_in_the_order_of_the_classes(work):
    p, q = np.full((1, 5), 0.2), np.array([[0.1, 0.3, 0.15, 0.25, 0.2]])
    truth = reference.akl(p[0].tolist(), q[0].tolist())
    assert abs(values(p, q, ["akl"], work=work)[0, 0] - truth) < ROUNDING(5)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("renyi", "expected a number after"),
        ("renyi:0", "above 0"),
        ("akl:1", "below 1"),
        ("bd-kd:entrop", "did you mean 'entropy'"),
        ("alphanet:1/0.5", "at least 1"),
        ("jss", "did you mean 'js'"),
    ],
)
def test_kinds_that_are_none(kind, says):
    with pytest.raises(SettingError, match=says):
        row_kind(kind)


# ------------------------------------------------------------------------------------- sinkd


def test_sinkd_of_two_rows():
    p = np.array([[0.5, 0.5], [0.55, 0.45]])
    assert abs(sinkd_terms(p, p, Sinkd()).sum() - 0.05378828427) < 1e-11


def test_sinkd_of_one_row_is_the_distance():
    p, q = np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])
    assert abs(sinkd_terms(p, q, Sinkd())[0] - 1.6) < ROUNDING(2)


def test_sinkd_is_the_plain_loop(pair):
    p, q = pair[0][:6], pair[1][:6]
    truth = reference.sinkd(p.tolist(), q.tolist(), 0.3)
    assert abs(sinkd_terms(p, q, Sinkd(0.3)).sum() - truth) < ROUNDING(20 * 36) * 6


def test_debiased_sinkd_of_equal_batches_is_zero(pair):
    assert abs(sinkd_terms(pair[0], pair[0], Sinkd(debiased=True)).sum()) < ROUNDING(1600)


def test_sinkd_with_a_tiny_eps_matches_rows(pair):
    p = pair[0][:8]
    assert abs(sinkd_terms(p, p[::-1].copy(), Sinkd(1e-4)).sum()) < ROUNDING(64)


@pytest.mark.parametrize("text", ["sinkd:0", "sinkd:x", "sinkd:nan", "sinkd:inf"])
def test_sinkd_needs_an_eps(text):
    with pytest.raises(SettingError, match="above 0"):
        sinkd_eps(text)


# --------------------------------------------------------------------------------- best of n


@pytest.mark.parametrize(
    ("outputs", "rare", "n", "divergence", "estimate", "most"),
    [
        (10, None, 4, 0.628825, 0.634870, 0.636294),
        (100, None, 10, 1.402163, 1.402553, 1.402585),
        (100, None, 1000, 4.604693, 4.604750, 5.908755),
        (99, 1e-4, 1000, 4.719702, 4.719874, 5.908755),
        (99, 1e-4, 10**5, 9.209632, 9.209691, 10.512935),
    ],
)
def test_best_of_n_of_uniform_outputs(outputs, rare, n, divergence, estimate, most):
    base = np.full(outputs, (1 - (rare or 0.0)) / outputs)
    base = base if rare is None else np.append(base, rare)  # the rare one is the best
    upto = np.cumsum(base)
    chosen = upto**n - (upto - base) ** n
    assert abs(exact(base[None], n)[0][0] - divergence) < 1e-6
    assert abs(chosen @ divergence_of_chosen(np.log(base), n) - estimate) < 1e-6
    assert abs(bound(n) - most) < 1e-6


def test_win_rate_is_below_its_bound():
    _, wins = exact(np.full((1, 10), 0.1), 16)
    assert abs(wins[0] - reference.best_of_n([0.1] * 10, 16)[1]) < ROUNDING(10)
    assert wins[0] <= 16 / 17


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_best_of_n_is_the_plain_loop(pair, n):
    found = exact(pair[0], n)
    truth = np.array([reference.best_of_n(row, n) for row in pair[0].tolist()]).T
    assert np.all(np.abs(np.array(found) - truth) <= ROUNDING(30, scale=n))


def test_best_of_many_ends_at_the_best_output():
    base = np.array([[0.3, 0.7 - 1e-4, 1e-4]])
    assert abs(exact(base, 10**9)[0][0] + math.log(1e-4)) < 1e-12


def test_limits_of_the_estimate_from_what_was_chosen():
    found = divergence_of_chosen(np.array([0.0, -1e3, -np.inf, -50.0]), 8)
    assert found[0] == 0.0
    assert np.all(np.abs(found[1:] - bound(8)) < ROUNDING(8))


def test_equal_rewards_are_one_output():
    base = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    merged = np.array([[0.3, 0.7], [0.1, 0.9]])
    for found, truth in zip(
        exact(base, 5, np.array([1.0, 0.0, 1.0])), exact(merged, 5), strict=True
    ):
        assert np.all(np.abs(found - truth) < ROUNDING(3))


# ------------------------------------------------------------------------------------- means


def test_mean_in_blocks_is_the_mean_of_the_whole():
    rng = np.random.default_rng(2)
    terms, weights = 1e6 + rng.normal(size=500), rng.uniform(size=500)
    blocks, whole = Mean(), Mean()
    whole.add(terms, weights, np.arange(500))
    for start in range(0, 500, 37):
        here = slice(start, start + 37)
        blocks.add(terms[here], weights[here], np.arange(500)[here])
    a = weights / weights.sum()
    mean = a @ terms
    se = math.sqrt(np.sum((a * (terms - mean)) ** 2) / (1 - a @ a))
    assert abs(blocks.mean - mean) < ROUNDING(500) * 1e6
    assert abs(blocks.se / se - 1) < 1e-9
    assert abs(whole.se / se - 1) < 1e-9


def test_an_infinite_row_makes_the_mean_infinite():
    mean = Mean()
    mean.add(np.array([1.0, math.inf]), np.ones(2), np.array([4, 7]))
    assert (mean.mean, mean.se, mean.infinite, mean.first_infinite) == (math.inf, None, 1, 7)
