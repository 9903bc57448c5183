"""What every quantity of one sample keeps to; its declaration is checked in test_registry."""

import json
import math
from importlib.util import find_spec

import numpy as np
import pytest

import divmatch
from divmatch.catalogue import SINGLES
from divmatch.errors import DivmatchError, SampleError, SettingError
from divmatch.estimator import parse_metric, quantity
from divmatch.inference import function_of
from divmatch.randomness import stream
from divmatch.record import CODES
from divmatch.samples import as_samples
from tests.tolerances import ROUNDING, SAME

METHODS = [(name, method) for name in SINGLES for method in quantity(name).methods]
EVERY_QUANTITY = pytest.mark.parametrize("name", SINGLES)
EVERY_METHOD = pytest.mark.parametrize(("name", "method"), METHODS)
GIVEN = {
    "ksd": {"target": "gaussian:0,1"},
    "dcor": {"x": "0"},
    "mi": {"x": "0"},
    "tails": {},
}  # what has no default
TESTED = [(name, method) for name, method in METHODS if name != "tails"]  # that has no null
EVERY_TEST = pytest.mark.parametrize(("name", "method"), TESTED)


def draws(name, permutations):
    """Permutations for what has a test."""
    return permutations * any(name == tested for tested, _ in TESTED)


def measure(name, method, sample, /, **options):
    return function_of(name)(sample, method=method, **(GIVEN[name] | options))


def rows(seed=0, n=30, d=2):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def digits(result):
    made = result.as_dict()
    ci = made["ci"] and [made["ci"]["low"], made["ci"]["high"]]
    return [made["value"], made["se"], ci, made["test"], made["error"]]


def number_or_one_line(name, method, x, **options):
    message, found = "", None
    try:
        found = measure(name, method, x, **options)
    except DivmatchError as error:
        message = str(error)
    assert bool(message) != bool(found)
    assert "\n" not in message
    if found is not None:
        json.dumps(found.as_dict(), allow_nan=False)
        assert math.isfinite(found.value) or "W02" in [note.code for note in found.warnings]
        assert found.test is None or 0 < found.test.p_value <= 1
    return found


@pytest.mark.parametrize("name", SINGLES)
def test_catalogue_names_a_module_that_is_there(name):
    assert find_spec(SINGLES[name][0])


@EVERY_QUANTITY
def test_it_is_declared_as_of_one_sample(name):
    assert quantity(name).alone


@EVERY_QUANTITY
def test_quantity_is_a_function_of_the_package(name):
    x = rows(1)
    found = getattr(divmatch, name)(x, **GIVEN[name])
    assert digits(found) == digits(measure(name, None, x))


@EVERY_QUANTITY
def test_it_is_no_metric_of_two_samples(name):
    with pytest.raises(SettingError, match="looks at one sample"):
        parse_metric(name)


@EVERY_METHOD
def test_result_survives_json(name, method):
    made = measure(name, method, rows(2), permutations=draws(name, 9)).as_dict()
    assert json.loads(json.dumps(made, allow_nan=False)) == made


@EVERY_METHOD
def test_result_describes_its_sample(name, method):
    found = measure(name, method, rows(3))
    assert (found.metric, found.method, found.n, found.d) == (name, method, (30,), 2)


@EVERY_METHOD
def test_recorded_settings_give_the_same_value(name, method):
    found = measure(name, method, rows(4))
    names = [setting.name for setting in quantity(name).chosen(method).settings]
    recorded = {key: found.params[key] for key in names}
    assert SAME(measure(name, method, rows(4), **recorded).value, found.value)


@EVERY_METHOD
def test_every_warning_has_a_known_code(name, method):
    assert {note.code for note in measure(name, method, rows(5)).warnings} <= set(CODES)


@EVERY_METHOD
def test_interval_holds_the_value(name, method):
    found = measure(name, method, rows(6))
    assert found.ci.low <= found.value <= found.ci.high


@EVERY_METHOD
def test_influences_have_one_value_a_row(name, method):
    estimator = quantity(name).chosen(method)
    if estimator.interval != "influence":
        pytest.skip("its interval comes from subsampling")
    rng = {"rng": stream(0, "test")} if estimator.random else {}
    found = estimator(as_samples(rows(7), "x"), **estimator.checked(GIVEN[name]), **rng)
    assert (found.terms_x.shape, found.terms_y) == ((30,), None)


@EVERY_TEST
def test_plan_of_what_was_observed_is_the_estimate(name, method):
    estimator, x = quantity(name).chosen(method), as_samples(rows(8), "x")
    settings = estimator.checked(GIVEN[name])
    if estimator.random:
        settings["rng"] = stream(0, "test")
    found = estimator(x, **settings)
    held = settings | {key: found.params[key] for key in settings if key in found.params}
    plan = estimator.plan(x, **held)
    own = {"signs": np.ones(30), "orders": np.tile(np.arange(30), plan.moved)}[plan.draws]
    value = plan.statistic(own[:, None])[0]
    assert value == pytest.approx(found.value, abs=ROUNDING(900, scale=5))


KINDS = {
    "float32": lambda x: x.astype(np.float32),
    "fortran": np.asfortranarray,
    "not contiguous": lambda x: np.repeat(x, 2, axis=0)[::2],
    "big endian": lambda x: x.astype(">f8"),
    "lists": lambda x: x.tolist(),
}


@EVERY_METHOD
@pytest.mark.parametrize("kind", KINDS)
def test_layout_and_type_of_the_input_do_not_matter(name, method, kind):
    x = rows(9).astype(np.float32).astype(float)
    found = measure(name, method, KINDS[kind](x), permutations=draws(name, 9))
    assert digits(found) == digits(measure(name, method, x, permutations=draws(name, 9)))


@EVERY_METHOD
def test_input_is_never_changed(name, method):
    x, weights = rows(10), np.random.default_rng(10).random(30)
    kept = x.copy(), weights.copy()
    x.flags.writeable = weights.flags.writeable = False
    measure(name, method, x, weights=weights)
    assert SAME(x, kept[0])
    assert SAME(weights, kept[1])


@EVERY_METHOD
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_undefined_number_is_refused_with_its_place(name, method, bad):
    x = rows(11)
    x[7, 1] = bad
    with pytest.raises(SampleError, match=r"^x: 1 row .*row 7, column 1"):
        measure(name, method, x)


@EVERY_METHOD
@pytest.mark.parametrize("shape", [(0, 2), (5, 0), (0,)])
def test_empty_sample_is_refused(name, method, shape):
    with pytest.raises(SampleError, match=r"^x: is empty"):
        measure(name, method, np.empty(shape))


@EVERY_METHOD
def test_unknown_setting_is_refused(name, method):
    with pytest.raises(DivmatchError, match=f"{name} --method {method} has no setting 'colour'"):
        measure(name, method, rows(12), colour="red")


def awkward():
    many = rows(13)
    return {
        "rounded": np.round(many),
        "duplicates": np.repeat(many, 3, axis=0),
        "constant column": np.column_stack([many[:, 0], np.ones(30)]),
        "constant": np.full((30, 2), 0.1),
        "one row": many[:1],
        "two rows": many[:2],
        "three rows": many[:3],
        "four rows": many[:4],
        "more columns than rows": rows(14, 8, 50),
        "one column": many[:, :1],
        "far from zero": many + 1e8,
        "tiny": many * 1e-200,
        "subnormal": many * 1e-310,
        "small": many * 1e-60,
        "large": many * 1e70,
        "enormous": many * 3e307,
        "scales apart": many * [1e-12, 1e12],
        "heavy tails": np.random.default_rng(15).standard_cauchy((30, 2)) ** 3,
        "truth values": many > 0,
    }


AWKWARD = awkward()


@EVERY_METHOD
@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_data_give_a_number_or_one_line(name, method, case):
    number_or_one_line(name, method, AWKWARD[case], permutations=draws(name, 9))


@EVERY_METHOD
@pytest.mark.parametrize(
    "weights",
    [
        [1, *[0] * 29],
        [1] * 3 + [0] * 27,
        [1] * 5 + [0] * 25,
        [1e-300] * 29 + [1.0],
        [1e300, *[1e-300] * 29],
        [1, 1e-17] * 15,
    ],
    ids=["one row", "three rows", "five rows", "nearly one", "extreme", "half"],
)
def test_awkward_weights_give_a_number_or_one_line(name, method, weights):
    number_or_one_line(name, method, rows(16), weights=weights)


@EVERY_METHOD
def test_weightless_rows_are_not_there(name, method):
    x = rows(17)
    options = {"bandwidth": 1} if name == "ksd" else {}
    found = measure(name, method, np.vstack([x, [[50.0, 50.0]]]), weights=[1] * 30 + [0], **options)
    expected = measure(name, method, x, weights=[1] * 30, **options)
    assert found.value == pytest.approx(expected.value, abs=ROUNDING(900, scale=2500))


@EVERY_METHOD
def test_same_seed_same_digits(name, method):
    found = [
        digits(measure(name, method, rows(18), permutations=draws(name, 19), seed=5))
        for _ in range(2)
    ]
    assert found[0] == found[1]


@EVERY_TEST
def test_seed_of_a_test_does_not_move_the_value(name, method):
    without = measure(name, method, rows(19), seed=5)
    estimator = quantity(name).chosen(method)
    seed = 5 if estimator.random or estimator.interval == "subsampling" else 6
    found = measure(name, method, rows(19), permutations=draws(name, 19), seed=seed)
    assert digits(found)[:3] == digits(without)[:3]


@EVERY_METHOD
def test_order_of_rows_does_not_matter(name, method):
    x = rows(20)
    found = measure(name, method, np.random.default_rng(20).permutation(x)).value
    assert found == pytest.approx(measure(name, method, x).value, abs=ROUNDING(900, scale=5))


@EVERY_TEST
def test_constant_sample_never_rejects(name, method):
    options = {"bandwidth": 1} if name == "ksd" else {}
    x = np.zeros((30, 2))
    found = number_or_one_line(name, method, x, permutations=49, **options)
    assert found is None or name == "ksd" or found.test.p_value == 1.0
