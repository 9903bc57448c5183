"""What every method of every quantity keeps to; a new one is held to it without a line here."""

import doctest
import inspect
import json
import math
import re
from importlib.util import find_spec

import numpy as np
import pytest

from divmatch.catalogue import QUANTITIES, SHAPED, SINGLES, STATISTICS
from divmatch.errors import DivmatchError, SampleError
from divmatch.estimator import quantity
from divmatch.inference import function_of, infer
from divmatch.randomness import stream
from divmatch.record import CODES
from divmatch.samples import as_samples
from tests.tolerances import LUCK, ROUNDING, SAME

CATALOGUE = QUANTITIES | SINGLES | SHAPED | STATISTICS
NAMES = [name for name in QUANTITIES | STATISTICS if find_spec(CATALOGUE[name][0])]
DECLARED = [*NAMES, *SINGLES, *SHAPED]  # test_single.py and test_shaped.py measure the others
METHODS = [(name, method) for name in NAMES for method in quantity(name).methods]

# methods of all quantities, and those for a density that is known
ESTIMATORS = [
    e for n in DECLARED for e in [*quantity(n).methods.values(), *quantity(n).known.values()]
]

EVERY_ESTIMATOR = pytest.mark.parametrize(
    "estimator",
    ESTIMATORS,
    ids=[
        f"{e.quantity.name}-{e.method}{'-density' * (e in e.quantity.known.values())}"
        for e in ESTIMATORS
    ],
)
EVERY_METHOD = pytest.mark.parametrize(("name", "method"), METHODS)
EVERY_DECLARED_QUANTITY = pytest.mark.parametrize("name", DECLARED)
EVERY_QUANTITY_OF_TWO = pytest.mark.parametrize("name", [n for n in NAMES if n in QUANTITIES])
SECTIONS = ("Parameters", "Returns", "Notes", "Examples")


def settings_of(name, method):
    """The settings of a measurement: the defaults, or what has a number for every sort of data."""
    if name == "renyi":
        return {"alpha": 0.5}  # finite unless the samples do not overlap at all
    # between Gaussians hellinger has a closed form, which spares the draws that js needs
    return (
        {"kind": "hellinger"} if (name, method) in {("fdiv", "knn"), ("fdiv", "gaussian")} else {}
    )


def measure(name, method, x, y, **options):
    """The public function of a quantity."""
    return function_of(name)(x, y, method=method, **(settings_of(name, method) | options))


def pair(seed=0, n=30, m=24, d=2, shift=0.5):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.3 + shift


def suited(method, x, y):
    """The rows, or their signs for the method that takes distinct rows as categories."""
    return (x > 0, y > 0) if method == "discrete" else (x, y)


def finite(name, method):
    """Settings under which an obvious difference is a number: inf ties with every other inf."""
    if method == "discrete":
        return {"smooth": "jeffreys"}
    return {"alpha": 0.5} if (name, method) == ("renyi", "gaussian") else {}


# cubic time; the loss of an overfitted network has a long tail among few rows
SIZES = {"lipschitz": (60, 50), "exact": (60, 50), "network": (300, 250)}


def luck_of_small_samples(method, n, m):
    """What a statistic may be above its null's zero: W_p in two columns is larger by √ln n."""
    size = (1 / n + 1 / m) ** 0.5
    return size * math.log(n + m) ** 0.5 if method in ("lipschitz", "exact") else size


def digits(result):
    """Every number of a result."""
    made = result.as_dict()
    ci = made["ci"] and [made["ci"]["low"], made["ci"]["high"]]
    return [made["value"], made["se"], ci, made["test"], made["error"]]


def number_or_one_line(name, method, x, y, **options):
    """A finite result in valid JSON, or a DivmatchError of one line; anything else fails."""
    message, found = "", None
    try:
        found = measure(name, method, x, y, **options)
    except DivmatchError as error:
        message = str(error)
    assert bool(message) != bool(found)
    assert "\n" not in message
    if found is None:
        return None
    made = found.as_dict()
    json.dumps(made, allow_nan=False)
    assert math.isfinite(found.value) or "W02" in [note.code for note in found.warnings]
    if found.test is not None:
        assert 0 < found.test.p_value <= 1
    return found


# ------------------------------------------------------------------------------- declaration


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue_names_a_module_that_is_there(name):
    assert find_spec(CATALOGUE[name][0])


@EVERY_DECLARED_QUANTITY
def test_catalogue_help_is_the_first_line_of_the_default_method(name):
    assert CATALOGUE[name][1] == quantity(name).help


@EVERY_DECLARED_QUANTITY
def test_quantity_has_the_name_of_its_entry(name):
    assert quantity(name).name == name


@EVERY_DECLARED_QUANTITY
def test_default_method_exists(name):
    assert quantity(name).default in quantity(name).methods


@EVERY_DECLARED_QUANTITY
def test_examples_call_the_command(name):
    assert all(name in example for example in quantity(name).examples)


@EVERY_DECLARED_QUANTITY
def test_defaults_for_scoring_are_settings(name):
    wanted = quantity(name)
    wanted.chosen(None).checked(wanted.when_scoring)


@EVERY_ESTIMATOR
def test_every_default_is_allowed(estimator):
    defaults = {setting.name: setting.default for setting in estimator.settings}
    assert estimator.checked(defaults) == defaults


@EVERY_ESTIMATOR
def test_every_setting_says_what_it_means(estimator):
    assert all(setting.meaning for setting in estimator.settings)


@EVERY_ESTIMATOR
def test_settings_of_one_name_mean_the_same_in_all_methods(estimator):
    known = estimator.quantity.settings()
    for setting in estimator.settings:
        assert setting == known[setting.name]


def documented(estimator):
    """The names in the Parameters section."""
    section = re.search(
        r"^Parameters\n-+\n(.*?)\n\n\w+\n-+\n", estimator.doc, re.DOTALL | re.MULTILINE
    )
    names = re.findall(r"^([\w, ]+) : ", section[1], re.MULTILINE)
    return [name.strip() for line in names for name in line.split(",")]


@EVERY_ESTIMATOR
def test_documented_parameters_are_those_of_the_signature(estimator):
    assert documented(estimator) == list(inspect.signature(estimator.function).parameters)


@EVERY_ESTIMATOR
@pytest.mark.parametrize("section", SECTIONS)
def test_docstring_has_its_sections(estimator, section):
    assert re.search(rf"^{section}\n-+$", estimator.doc, re.MULTILINE)


@EVERY_ESTIMATOR
@pytest.mark.parametrize("label", ["Cost: ", "Source: "])
def test_notes_name_cost_and_source(estimator, label):
    notes = estimator.doc.partition("\nNotes\n")[2]
    assert re.search(rf"^{label}\S", notes, re.MULTILINE)


@EVERY_ESTIMATOR
def test_first_line_is_a_sentence(estimator):
    first = estimator.doc.partition("\n\n")[0]
    assert re.fullmatch(r"(f-|[A-Z])[^\n]*\.", first)


@EVERY_ESTIMATOR
def test_doctest_runs(estimator):
    test = doctest.DocTestParser().get_doctest(estimator.doc, {}, estimator.method, None, None)
    assert test.examples
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


# ------------------------------------------------------------------------------------ result


@EVERY_METHOD
def test_result_survives_json(name, method):
    made = measure(name, method, *pair(1), permutations=9).as_dict()
    assert json.loads(json.dumps(made, allow_nan=False)) == made


@EVERY_METHOD
def test_result_describes_its_samples(name, method):
    found = measure(name, method, *pair(2))
    assert (found.metric, found.method, found.n, found.d) == (name, method, (30, 24), 2)


@EVERY_METHOD
def test_result_records_every_setting(name, method):
    estimator = quantity(name).chosen(method)
    assert set(measure(name, method, *pair(3)).params) >= {s.name for s in estimator.settings}


@EVERY_METHOD
def test_recorded_settings_give_the_same_value(name, method):
    found = measure(name, method, *pair(4))
    names = [setting.name for setting in quantity(name).chosen(method).settings]
    recorded = {key: found.params[key] for key in names}
    assert SAME(measure(name, method, *pair(4), **recorded).value, found.value)


@EVERY_METHOD
def test_every_warning_has_a_known_code(name, method):
    found = [measure(name, method, *pair(seed, shift=shift)) for seed, shift in ((5, 0), (6, 20))]
    assert {note.code for result in found for note in result.warnings} <= set(CODES)


@EVERY_METHOD
def test_interval_holds_the_value(name, method):
    found = measure(name, method, *suited(method, *pair(7, 200, 200)))
    assert found.ci.low <= found.value <= found.ci.high


@EVERY_METHOD
def test_influences_have_one_value_a_row(name, method):
    estimator = quantity(name).chosen(method)
    if estimator.interval != "influence":
        pytest.skip("its interval comes from subsampling")
    x, y = pair(8)
    rng = {"rng": stream(0, "test")} if estimator.random else {}
    found = estimator(
        as_samples(x, "x"),
        as_samples(y, "y"),
        **estimator.checked(settings_of(name, method)),
        **rng,
    )
    assert (found.terms_x.shape, found.terms_y.shape) == ((30,), (24,))


@EVERY_METHOD
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_plan_of_the_observed_labels_is_the_estimate(name, method, d, weighted):
    if method == "auto":
        pytest.skip("its p-value is that of the method nnr, as it says")
    estimator = quantity(name).chosen(method)
    x, y = pair(9, d=d)
    rng = np.random.default_rng(9)
    parts = (rng.random(30) + 0.5, rng.random(24) + 0.5) if weighted else (None, None)
    samples = as_samples(x, "x", parts[0]), as_samples(y, "y", parts[1])
    weights = (
        np.concatenate([sample.masses() * sample.n for sample in samples]) if weighted else None
    )
    settings = estimator.checked(settings_of(name, method))
    if estimator.random:
        settings["rng"] = stream(0, "test")
    found = estimator(*samples, **settings)
    held = settings | {key: found.params[key] for key in settings if key in found.params}
    mixed = np.random.default_rng(10).permutation(54)
    pool = as_samples(
        np.concatenate([x, y])[mixed], "pool", None if weights is None else weights[mixed]
    )
    value = estimator.plan(pool, **held).statistic((mixed < 30)[:, None])[0]
    assert value == pytest.approx(found.value, abs=ROUNDING(54, scale=20))


@EVERY_METHOD
def test_plan_takes_many_labels_at_once(name, method):
    estimator = quantity(name).chosen(method)
    x, y = (as_samples(rows, "x") for rows in pair(11))
    settings = estimator.checked(settings_of(name, method))
    if estimator.random:
        settings["rng"] = stream(0, "test")
    params = estimator(x, y, **settings).params
    plan = estimator.plan(
        as_samples(np.concatenate([x.points, y.points]), "pool"),
        **(settings | {key: params[key] for key in settings if key in params}),
    )
    rng = np.random.default_rng(12)
    labels = np.column_stack([rng.permutation(np.arange(54) < 30) for _ in range(8)])
    apart = [plan.statistic(labels[:, b : b + 1])[0] for b in range(8)]
    assert plan.statistic(labels) == pytest.approx(apart, abs=ROUNDING(54, scale=20))


# ----------------------------------------------------------------------------- kinds of input

KINDS = {
    "float32": lambda rows: rows.astype(np.float32),
    "fortran": np.asfortranarray,
    "not contiguous": lambda rows: np.repeat(rows, 2, axis=0)[::2],
    "reversed": lambda rows: rows[::-1].copy()[::-1],
    "wider array": lambda rows: np.column_stack([rows, rows])[:, : rows.shape[1]],
    "big endian": lambda rows: rows.astype(">f8"),
    "lists": lambda rows: rows.tolist(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input_becomes_the_same_points(kind):
    """All that a method sees of its input are these points."""
    rows = pair(13)[0].astype(np.float32).astype(float)
    found = as_samples(KINDS[kind](rows), "x").points
    assert SAME(found, rows)
    assert (found.dtype, found.flags.c_contiguous) == (np.float64, True)


@EVERY_METHOD
def test_layout_and_type_of_the_input_do_not_matter(name, method):
    x, y = (rows.astype(np.float32).astype(float) for rows in pair(13))
    found = measure(name, method, KINDS["fortran"](x), KINDS["float32"](y))
    assert digits(found) == digits(measure(name, method, x, y))


@EVERY_METHOD
def test_read_only_input_is_welcome(name, method):
    x, y = pair(14)
    for rows in (x, y):
        rows.flags.writeable = False
    assert digits(measure(name, method, x, y)) == digits(measure(name, method, x.copy(), y.copy()))


@EVERY_METHOD
def test_whole_numbers_are_numbers(name, method):
    x, y = (np.random.default_rng([15, s]).choice(10_000, (30, 1), replace=False) for s in (0, 1))
    y = 10_000 - y + 20_000
    expected = digits(measure(name, method, x.astype(float), y.astype(float)))
    assert digits(measure(name, method, x, y)) == expected


@EVERY_METHOD
def test_truth_values_are_zeros_and_ones(name, method):
    rng = np.random.default_rng(16)
    x, y = rng.random((30, 2)) < 0.5, rng.random((24, 2)) < 0.3
    found = [
        number_or_one_line(name, method, *rows)
        for rows in ((x, y), (x.astype(float), y.astype(float)))
    ]
    assert [f and digits(f) for f in found[:1]] == [f and digits(f) for f in found[1:]]


@EVERY_METHOD
def test_one_dimension_is_one_column(name, method):
    x, y = pair(17, d=1)
    assert digits(measure(name, method, x[:, 0], y[:, 0])) == digits(measure(name, method, x, y))


@EVERY_METHOD
def test_input_is_never_changed(name, method):
    x, y = pair(18)
    kept = x.copy(), y.copy()
    measure(name, method, x, y, permutations=9)
    assert SAME(x, kept[0])
    assert SAME(y, kept[1])


@EVERY_METHOD
def test_weights_are_never_changed(name, method):
    x, y = pair(19)
    weights = np.random.default_rng(19).random(30)
    kept = weights.copy()
    measure(name, method, x, y, weights_x=weights, permutations=9)
    assert SAME(weights, kept)


# ------------------------------------------------------------------------------------ mistakes


@EVERY_METHOD
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["x", "y"])
def test_undefined_number_is_refused_with_its_place(name, method, bad, which):
    rows = dict(zip("xy", pair(20), strict=True))
    rows[which][7, 1] = bad
    with pytest.raises(SampleError, match=rf"^{which}: 1 row .*row 7, column 1"):
        measure(name, method, rows["x"], rows["y"])


@EVERY_METHOD
@pytest.mark.parametrize("shape", [(0, 2), (5, 0), (0,)])
def test_empty_sample_is_refused(name, method, shape):
    with pytest.raises(SampleError, match=r"^y: is empty"):
        measure(name, method, pair(21)[0], np.empty(shape))


@EVERY_METHOD
def test_different_columns_are_refused(name, method):
    with pytest.raises(SampleError, match="x has 2 columns, y has 3"):
        measure(name, method, pair(22)[0], pair(22, d=3)[1])


@EVERY_METHOD
def test_unknown_setting_is_refused(name, method):
    with pytest.raises(DivmatchError, match=f"{name} --method {method} has no setting 'colour'"):
        measure(name, method, *pair(23), colour="red")


# ------------------------------------------------------------------------------- awkward data


def awkward():
    """Samples that are allowed and hard."""
    rng = np.random.default_rng(24)
    many = rng.normal(size=(30, 2))
    return {
        "sizes far apart": (many, rng.normal(size=(120, 2))),
        "rounded": (np.round(many), np.round(rng.normal(size=(24, 2)))),
        "duplicates": (np.repeat(many, 3, axis=0), np.repeat(many[:8] + 1, 5, axis=0)),
        "a sample and itself": (many, many.copy()),
        "shared rows": (many, np.vstack([many[:10], rng.normal(size=(10, 2))])),
        "constant column": (
            np.column_stack([many, np.ones(30)]),
            np.column_stack([many + 1, np.ones(30)]),
        ),
        "constant in one sample": (np.ones((30, 2)), many),
        "constant": (np.full((30, 2), 0.1), np.full((24, 2), 0.1)),
        "two constants": (np.zeros((30, 2)), np.ones((24, 2))),
        "one row each": (many[:1], many[1:2]),
        "the same row": (many[:1], many[:1].copy()),
        "one row in the first": (many[:1], many[1:]),
        "one row in the second": (many[1:], many[:1]),
        "two rows each": (many[:2], many[2:4]),
        "more columns than rows": (rng.normal(size=(8, 20)), rng.normal(size=(9, 20))),
        "far from zero": (many + 1e8, rng.normal(size=(24, 2)) + 1e8),
        "tiny": (many * 1e-200, rng.normal(size=(24, 2)) * 1e-200),
        "subnormal": (many * 1e-310, rng.normal(size=(24, 2)) * 1e-310),
        "large": (many * 1e100, rng.normal(size=(24, 2)) * 1e100),
        "huge": (many * 1e200, rng.normal(size=(24, 2)) * 1e200),
        "enormous": (many * 3e307, rng.normal(size=(24, 2)) * 3e307),
        "scales apart": (many * [1e-12, 1e12], rng.normal(size=(24, 2)) * [1e-12, 1e12]),
        "far apart": (many, many[:24] + 1e6),
        "heavy tails": (rng.standard_cauchy((30, 2)), rng.standard_cauchy((24, 2)) ** 3),
    }


AWKWARD = awkward()


@EVERY_METHOD
@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_data_give_a_number_or_one_line(name, method, case):
    x, y = AWKWARD[case]
    number_or_one_line(name, method, x, y, permutations=2)


@EVERY_METHOD
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1, *[0] * 29], None),
        ([1] * 3 + [0] * 27, [0] * 20 + [1] * 4),
        ([1e-300] * 29 + [1.0], None),
        ([1e300, *[1e-300] * 29], [1e-5] * 24),
        (None, [1, 1e-17] * 12),
    ],
    ids=["one row", "few rows", "nearly one row", "extreme", "nearly none"],
)
def test_awkward_weights_give_a_number_or_one_line(name, method, a, b):
    x, y = pair(25)
    number_or_one_line(name, method, x, y, weights_x=a, weights_y=b, permutations=2)


@EVERY_METHOD
@pytest.mark.parametrize("ties", ["error", "drop", "jitter"])
@pytest.mark.parametrize(
    "case", ["rounded", "duplicates", "a sample and itself", "constant", "shared rows"]
)
def test_every_policy_for_ties_gives_a_number_or_one_line(name, method, ties, case):
    estimator = quantity(name).chosen(method)
    if "ties" not in [setting.name for setting in estimator.settings]:
        pytest.skip("it has no policy for ties")
    number_or_one_line(name, method, *AWKWARD[case], ties=ties, permutations=2)


@EVERY_METHOD
@pytest.mark.parametrize("case", ["constant", "the same row"])
def test_equal_constant_samples_never_reject(name, method, case):
    found = number_or_one_line(name, method, *AWKWARD[case], permutations=49)
    assert found is None or found.test.p_value == 1.0


@EVERY_METHOD
def test_weightless_rows_are_not_there(name, method):
    x, y = pair(26)
    more = np.vstack([x, [[50.0, 50.0]]])
    found = measure(name, method, more, y, weights_x=[1] * 30 + [0]).value
    expected = measure(name, method, x, y, weights_x=[1] * 30).value
    assert found == pytest.approx(expected, abs=ROUNDING(54, scale=20))


# ----------------------------------------------------------------------------------- sameness


@EVERY_METHOD
def test_same_seed_same_digits(name, method):
    x, y = pair(27)
    found = [digits(measure(name, method, x, y, permutations=9, seed=5)) for _ in range(2)]
    assert found[0] == found[1]


@EVERY_METHOD
def test_seed_of_a_test_does_not_move_the_value(name, method):
    x, y = pair(28)
    without = measure(name, method, x, y, seed=5)
    assert digits(measure(name, method, x, y, permutations=2, seed=5))[:3] == digits(without)[:3]


@EVERY_METHOD
def test_order_of_rows_does_not_matter(name, method):
    x, y = pair(29)
    rng = np.random.default_rng(29)
    found = measure(name, method, rng.permutation(x), rng.permutation(y)).value
    expected = measure(name, method, x, y).value
    assert found == pytest.approx(expected, abs=ROUNDING(54, scale=20))


@EVERY_METHOD
def test_order_of_columns_does_not_matter(name, method):
    """Random directions are turned with the columns, so theirs agree up to the Monte Carlo error."""
    x, y = pair(30, d=3)
    found, expected = measure(name, method, x[:, ::-1], y[:, ::-1]), measure(name, method, x, y)
    error = (expected.error or {}).get("monte_carlo_se", 0.0)
    tolerance = ROUNDING(54, scale=20) + LUCK(2**0.5 * error)
    assert found.value == pytest.approx(expected.value, abs=tolerance)


@EVERY_METHOD
def test_symmetric_quantities_do_not_see_the_order_of_the_samples(name, method):
    if quantity(name).direction != "symmetric":
        pytest.skip("it is not symmetric")
    x, y = pair(31)
    found, expected = measure(name, method, y, x).value, measure(name, method, x, y).value
    assert found == pytest.approx(expected, abs=ROUNDING(54, scale=20))


@EVERY_METHOD
def test_two_samples_of_one_distribution_are_at_distance_zero(name, method):
    """Within luck of zero, or of what the permutations say that luck alone gives."""
    rng = np.random.default_rng(33)
    n, m = SIZES.get(method, (150, 120))
    rows = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    found = measure(name, method, *suited(method, *rows), permutations=19)
    null = found.test.null
    assert found.value == pytest.approx(null["mean"], abs=LUCK(null["sd"]))
    if found.better == "higher":
        return  # a share: no distance that could be zero
    assert null["mean"] == pytest.approx(
        0.0, abs=LUCK(null["sd"], bias=luck_of_small_samples(method, n, m))
    )


@EVERY_METHOD
def test_permutations_find_an_obvious_difference(name, method):
    x, y = suited(method, *pair(33, shift=3.0))
    found = measure(name, method, x, y, permutations=39, **finite(name, method))
    assert found.test.p_value == 1 / 40


@EVERY_QUANTITY_OF_TWO
def test_quantity_is_a_function_of_the_package(name):
    import divmatch

    x, y = pair(34)
    found = getattr(divmatch, name)(x, y, **settings_of(name, None))
    assert digits(found) == digits(measure(name, None, x, y))


@EVERY_METHOD
def test_inference_takes_samples_with_their_names(name, method):
    estimator = quantity(name).chosen(method)
    x, y = (as_samples(rows, label) for rows, label in zip(pair(35), ("real", "gen"), strict=True))
    found = infer(estimator, x, y, estimator.checked(settings_of(name, method)))
    assert SAME(found.value, measure(name, method, x.points, y.points).value)
