"""What every quantity with inputs of its own keeps to; its declaration is checked in test_registry."""

import json
import math

import numpy as np
import pytest

import divmatch
from divmatch.catalogue import SHAPED
from divmatch.errors import DivmatchError, SampleError, SettingError
from divmatch.estimator import parse_metric, quantity
from divmatch.inference import function_of
from divmatch.record import CODES
from tests.tolerances import ROUNDING, SAME

METHODS = [(name, method) for name in SHAPED for method in quantity(name).methods]
EVERY_QUANTITY = pytest.mark.parametrize("name", SHAPED)
EVERY_METHOD = pytest.mark.parametrize(("name", "method"), METHODS)
ROWS = np.random.default_rng(0).normal(size=(40, 2))
SECOND = {  # what goes with the rows
    "align": lambda rows: np.column_stack([rows, rows[:, ::-1] ** 2]),
    "prototypes": lambda rows: np.arange(len(rows)) % 3,
    "klom": lambda rows: rows[::-1] * 1.3 + 0.2,
    "density-gap": lambda rows: np.full(rows.shape, 0.7),
}


def measure(name, method, rows, *, second=None, **options):
    second = SECOND[name](np.asarray(rows, dtype=float)) if second is None else second
    return function_of(name)(rows, second, method=method, **options)


def digits(result):
    made = result.as_dict()
    ci = made["ci"] and [made["ci"]["low"], made["ci"]["high"]]
    return [made["value"], made["se"], ci, made["test"], made["error"], made["params"]]


def number_or_one_line(name, method, rows, **options):
    message, found = "", None
    try:
        found = measure(name, method, rows, **options)
    except DivmatchError as error:
        message = str(error)
    assert bool(message) != bool(found)
    assert "\n" not in message
    if found is not None:
        json.dumps(found.as_dict(), allow_nan=False)
        assert math.isfinite(found.value) or "W02" in [note.code for note in found.warnings]
    return found


@EVERY_QUANTITY
def test_quantity_is_a_function_of_the_package(name):
    public = getattr(divmatch, name.replace("-", "_"))
    assert digits(public(ROWS, SECOND[name](ROWS))) == digits(measure(name, None, ROWS))


@EVERY_QUANTITY
def test_it_is_no_metric_of_two_samples(name):
    with pytest.raises(SettingError, match="takes inputs of its own"):
        parse_metric(name)


@EVERY_METHOD
def test_result_survives_json(name, method):
    made = measure(name, method, ROWS).as_dict()
    assert json.loads(json.dumps(made, allow_nan=False)) == made


@EVERY_METHOD
def test_result_describes_its_rows(name, method):
    found = measure(name, method, ROWS)
    assert (found.metric, found.method, found.n[0], found.d) == (name, method, 40, 2)


@EVERY_METHOD
def test_every_warning_has_a_known_code(name, method):
    assert {note.code for note in measure(name, method, ROWS).warnings} <= set(CODES)


@EVERY_METHOD
def test_interval_holds_the_value(name, method):
    found = measure(name, method, np.random.default_rng(3).normal(size=(80, 2)))
    assert found.ci.low <= found.value <= found.ci.high


@EVERY_METHOD
def test_recorded_settings_give_the_same_value(name, method):
    found = measure(name, method, ROWS)
    names = [setting.name for setting in quantity(name).chosen(method).settings]
    again = measure(name, method, ROWS, **{key: found.params[key] for key in names})
    assert SAME(again.value, found.value)


@EVERY_METHOD
def test_same_seed_same_digits(name, method):
    found = [digits(measure(name, method, ROWS, seed=5)) for _ in range(2)]
    assert found[0] == found[1]


KINDS = {
    "float32": lambda x: x.astype(np.float32),
    "fortran": np.asfortranarray,
    "not contiguous": lambda x: np.repeat(x, 2, axis=0)[::2],
    "lists": lambda x: x.tolist(),
}


@EVERY_METHOD
@pytest.mark.parametrize("kind", KINDS)
def test_layout_and_type_of_the_input_do_not_matter(name, method, kind):
    rows = ROWS.astype(np.float32).astype(float)
    second = SECOND[name](rows)
    found = measure(name, method, KINDS[kind](rows), second=second)
    assert digits(found) == digits(measure(name, method, rows, second=second))


@EVERY_METHOD
def test_input_is_never_changed(name, method):
    rows = ROWS.copy()
    rows.flags.writeable = False
    measure(name, method, rows)
    assert SAME(rows, ROWS)


@EVERY_METHOD
def test_undefined_number_is_refused_with_its_place(name, method):
    rows = ROWS.copy()
    rows[7, 1] = np.nan
    with pytest.raises(SampleError, match=r"1 row .*row 7, column 1"):
        measure(name, method, rows, second=SECOND[name](ROWS))


@EVERY_METHOD
def test_other_numbers_of_rows_are_refused(name, method):
    if name == "klom":
        pytest.skip("as many models as there are")
    with pytest.raises(SampleError, match=r"40 row|expected 40"):
        measure(name, method, ROWS, second=SECOND[name](ROWS[:39]))


@EVERY_METHOD
def test_order_of_rows_does_not_matter(name, method):
    if name == "density-gap":
        pytest.skip("every row has draws of its own")
    order = np.random.default_rng(1).permutation(40)
    second = SECOND[name](ROWS)
    found = measure(name, method, ROWS[order], second=second[order]).value
    expected = measure(name, method, ROWS, second=second).value
    assert found == pytest.approx(expected, abs=ROUNDING(40, scale=50))


@EVERY_METHOD
def test_weights_are_honoured_or_refused(name, method):
    try:
        found = measure(name, method, np.vstack([ROWS, [[50.0, 50.0]]]), weights=[1] * 40 + [0])
    except SettingError as error:
        assert "weights" in str(error)  # noqa: PT017
        return
    second = SECOND[name](np.vstack([ROWS, [[50.0, 50.0]]]))[:40]
    expected = measure(name, method, ROWS, second=second)
    assert found.value == pytest.approx(expected.value, abs=ROUNDING(40, scale=50))


AWKWARD = {
    "rounded": np.round(ROWS),
    "duplicates": np.repeat(ROWS[:10], 4, axis=0),
    "constant column": np.column_stack([ROWS[:, 0], np.ones(40)]),
    "constant": np.full((40, 2), 0.1),
    "zeros": np.zeros((40, 2)),
    **{f"{n} rows": ROWS[:n] for n in (1, 2, 3, 4, 12)},
    "more columns than rows": np.random.default_rng(2).normal(size=(13, 50)),
    "far from zero": ROWS + 1e8,
    "tiny": ROWS * 1e-60,
    "subnormal": ROWS * 1e-310,
    "large": ROWS * 1e70,
    "enormous": ROWS * 3e307,
}


@EVERY_METHOD
@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_data_give_a_number_or_one_line(name, method, case):
    with np.errstate(all="ignore"):
        number_or_one_line(name, method, AWKWARD[case], second=SECOND[name](AWKWARD[case]))
