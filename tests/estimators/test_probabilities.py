"""Exact divergences of probability vectors: values, limits, derivatives, biases."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from divmatch.estimators import probabilities
from divmatch.estimators.generators import generator
from tests.reference import cells as reference
from tests.tolerances import LUCK, ROUNDING

KINDS = [
    "kl",
    "reverse-kl",
    "softened-rkl",
    "jeffreys",
    "js",
    "js-gan",
    "hellinger",
    "hellinger-gan",
    "chi2",
    "neyman",
    "le-cam",
    "alpha:0.5",
    "alpha:2",
    "alpha:-1",
    "skew-js:0.1",
]
ORDERS = [0.3, 0.999, 1.0, 1.001, 2.0, 5.0]
TEACHER, STUDENT = np.array([2.0, 1.0, 0.0, -1.0]), np.array([1.0, 1.5, 0.5, -2.0])


def softmax(z):
    return np.exp(z) / np.exp(z).sum()


def vectors(seed=0, size=6, concentration=3.0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(size, concentration)), rng.dirichlet(np.full(size, concentration))


def value(kind, p, q):
    return probabilities.divergence(generator(kind), p, q)


@pytest.mark.parametrize("kind", ["kl", "js", "tv", "hellinger", "chi2"])
@pytest.mark.parametrize("seed", range(5))
def test_value_equals_the_loops(kind, seed):
    p, q = vectors(seed)
    expected = getattr(reference, kind)(p.tolist(), q.tolist())
    assert value(kind, p, q) == pytest.approx(expected, abs=ROUNDING(6, scale=100))


def test_kl_equals_scipy():
    p, q = vectors(1, 50)
    assert value("kl", p, q) == pytest.approx(rel_entr(p, q).sum(), abs=ROUNDING(50, scale=10))


def test_js_is_the_square_of_scipys_distance():
    p, q = vectors(2, 50)
    assert value("js", p, q) == pytest.approx(jensenshannon(p, q) ** 2, abs=ROUNDING(50, scale=10))


TOY = {"kl": 0.269218, "reverse-kl": 0.268293, "js": 0.065657, "alpha:-1": 0.293124}


@pytest.mark.parametrize("kind", TOY)
def test_toy_of_teacher_and_student(kind):
    found = value(kind, softmax(TEACHER), softmax(STUDENT))
    assert found == pytest.approx(TOY[kind], abs=LUCK(0, bias=1e-6))


@pytest.mark.parametrize(
    ("order", "expected"), [(0.5, 0.137441), (1, 0.269218), (2, 0.465271), (math.inf, 0.755259)]
)
def test_toy_of_orders(order, expected):
    found = probabilities.renyi(order, softmax(TEACHER), softmax(STUDENT))
    assert found == pytest.approx(expected, abs=LUCK(0, bias=1e-6))


@pytest.mark.parametrize("order", [0.3, 2.0, 5.0])
def test_renyi_equals_the_loops(order):
    p, q = vectors(3)
    expected = reference.renyi(order, p.tolist(), q.tolist())
    assert probabilities.renyi(order, p, q) == pytest.approx(expected, abs=ROUNDING(6, scale=100))


def test_orders_never_decrease():
    p, q = vectors(4)
    found = [probabilities.renyi(a, p, q) for a in (0.1, 0.5, 0.999999, 1, 1.000001, 2, 50, 1e5)]
    assert (np.diff([*found, probabilities.renyi(math.inf, p, q)]) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_mass_without_partner_costs_the_limits(kind):
    of = generator(kind)
    terms = probabilities.divergence_terms(of, [0.0, 0.5, 0.0], [0.25, 0.0, 0.0])
    expected = [0.25 * of.at_zero, 0.5 * of.at_infinity, 0.0]
    assert terms.tolist() == pytest.approx(expected, abs=ROUNDING(1))


@pytest.mark.parametrize(("order", "expected"), [(0.5, 2 * math.log(2)), (2.0, math.inf)])
def test_orders_with_half_of_the_mass_in_common(order, expected):
    found = probabilities.renyi(order, [0.5, 0.5, 0.0], [0.5, 0.0, 0.5])
    assert found == pytest.approx(expected, abs=ROUNDING(3))


def test_nothing_in_common_is_infinite_at_every_order():
    found = [probabilities.renyi(a, [1.0, 0.0], [0.0, 1.0]) for a in (0.5, 1, 2, math.inf)]
    assert found == [math.inf] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_block_are_apart(kind):
    pairs = [vectors(seed) for seed in range(4)]
    block = value(kind, np.array([p for p, _ in pairs]), np.array([q for _, q in pairs]))
    assert block.tolist() == [float(value(kind, p, q)) for p, q in pairs]


def centred(values):
    return values - values.mean()


def derivative(function, at, h=1e-6):
    return np.array([(function(at + e) - function(at - e)) / (2 * h) for e in h * np.eye(len(at))])


@pytest.mark.parametrize("kind", KINDS)
def test_influences_are_the_derivatives(kind):
    p, q = vectors(5, concentration=20.0)
    by_p, by_q = probabilities.divergence_influences(generator(kind), p, q)
    assert derivative(lambda u: value(kind, u, q), p) == pytest.approx(by_p, rel=1e-6, abs=1e-7)
    assert derivative(lambda u: value(kind, p, u), q) == pytest.approx(by_q, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("order", [*ORDERS, math.inf])
@pytest.mark.parametrize("name", ["renyi", "tsallis"])
def test_influences_of_orders_are_the_derivatives(order, name):
    if name == "tsallis" and math.isinf(order):
        pytest.skip("it has no finite form")
    p, q = vectors(6, concentration=20.0)
    of = getattr(probabilities, name)
    by_p, by_q = getattr(probabilities, f"{name}_influences")(order, p, q)
    found_p = centred(derivative(lambda u: of(order, u, q), p))
    found_q = centred(derivative(lambda u: of(order, p, u), q))
    assert found_p == pytest.approx(centred(by_p), rel=1e-5, abs=1e-6)
    assert found_q == pytest.approx(centred(by_q), rel=1e-5, abs=1e-6)


def drawn(p, q, n, m, runs=20000):
    rng = np.random.default_rng(7)
    return rng.multinomial(n, p, runs) / n, rng.multinomial(m, q, runs) / m


@pytest.mark.parametrize("kind", ["kl", "js", "hellinger", "chi2", "le-cam", "tv", "alpha:0.5"])
def test_bias_is_that_of_the_plug_in(kind):
    p, q = vectors(8, 10, 30.0)
    values = value(kind, *drawn(p, q, 4000, 6000))
    bias = probabilities.divergence_bias(generator(kind), p, q, 4000, 6000)
    luck = LUCK(values.std() / len(values) ** 0.5, bias=0.02 * bias)  # the second order
    assert values.mean() - value(kind, p, q) == pytest.approx(bias, abs=luck)


@pytest.mark.parametrize("order", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("name", ["renyi", "tsallis"])
def test_bias_of_orders_is_that_of_the_plug_in(order, name):
    p, q = vectors(9, 10, 30.0)
    of = getattr(probabilities, name)
    values = of(order, *drawn(p, q, 4000, 6000))
    bias = getattr(probabilities, f"{name}_bias")(order, p, q, 4000, 6000)
    luck = LUCK(values.std() / len(values) ** 0.5, bias=0.05 * abs(bias))
    assert values.mean() - of(order, p, q) == pytest.approx(bias, abs=luck)


def test_bias_to_a_known_vector_is_millers():
    p, _ = vectors(10, 10)
    found = probabilities.divergence_bias(generator("kl"), p, p, 400, math.inf)
    assert found == pytest.approx(9 / 800, abs=ROUNDING(10))


def test_bias_of_tv_at_the_null():
    p, _ = vectors(11, 10)
    found = probabilities.divergence_bias(generator("tv"), p, p, 400, 600)
    expected = np.sqrt(p * (1 - p) * (1 / 400 + 1 / 600)).sum() / math.sqrt(2 * math.pi)
    assert found == pytest.approx(expected, abs=ROUNDING(10))
