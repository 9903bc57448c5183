"""What every method of `divmatch match` keeps to; a new one is held to it without a line here."""

import doctest
import inspect
import json
import re
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from pyarrow import parquet

import divmatch
from divmatch.catalogue import MATCHES
from divmatch.cli.main import run
from divmatch.errors import DivmatchError
from divmatch.matcher import task
from divmatch.record import CODES
from tests.tolerances import ROUNDING, SAME

METHODS = [(name, method) for name in MATCHES for method in task(name).methods]
MATCHERS = [task(name).methods[method] for name, method in METHODS]
IDS = [f"{name}-{method}" for name, method in METHODS]

EVERY_TASK = pytest.mark.parametrize("name", MATCHES)
EVERY_MATCHER = pytest.mark.parametrize("matcher", MATCHERS, ids=IDS)
EVERY_WEIGHING = pytest.mark.parametrize(
    "matcher",
    [m for m in MATCHERS if m.task.product == "weights"],
    ids=[i for i, m in zip(IDS, MATCHERS, strict=True) if m.task.product == "weights"],
)
SECTIONS = ("Parameters", "Returns", "Notes", "Examples")
NORMAL = {"target": "gaussian:0,1", "steps": 100, "tol": 0.02}  # more take long
NEEDED = {  # what a method cannot do without: (task, method) -> settings
    ("weights", "dro"): {"loss": "0"},
    ("weights", "tilt"): {"targets": "0=0.2"},
    ("weights", "is"): {"log_p": "0", "log_q": "1"},
    ("map", "monge"): {"features": 2},
    **{("select", method): {"n": 5} for method in task("select").methods},
    **{("sample", method): {**NORMAL} for method in task("sample").methods},
    ("sample", "msvgd"): {**NORMAL, "domain": "box:-9,9"},
    ("sample", "svmd"): {**NORMAL, "domain": "box:-9,9"},
    **{("flow", method): {"steps": 15} for method in task("flow").methods},  # more take long
}


def pair(seed=0, n=60, m=50, d=2, shift=0.3):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 0.9 + shift


def match(matcher, x, y, **options):
    """The public function of a task."""
    options = NEEDED.get((matcher.task.name, matcher.method), {}) | options
    y = None if matcher.candidate == "never" else y
    made = getattr(divmatch.match, matcher.task.name)
    return made(x, y, method=matcher.method, **options)


def digits(found):
    """Every number that came out."""
    results = [(r.id, r.value, r.se, r.ci and (r.ci.low, r.ci.high)) for r in found.results]
    return [found.weights.tolist(), found.points.tolist(), results]


# ------------------------------------------------------------------------------- declaration


@EVERY_TASK
def test_catalogue_help_is_the_first_line_of_the_default_method(name):
    assert MATCHES[name][1] == task(name).help


@EVERY_TASK
def test_task_has_the_name_of_its_entry(name):
    assert task(name).name == name


@EVERY_MATCHER
def test_every_default_is_allowed(matcher):
    defaults = {setting.name: setting.default for setting in matcher.settings}
    assert matcher.checked(defaults) == defaults


@EVERY_MATCHER
def test_every_setting_says_what_it_means(matcher):
    assert all(setting.meaning for setting in matcher.settings)


@EVERY_MATCHER
def test_settings_of_one_name_mean_the_same_in_all_methods(matcher):
    known = matcher.task.settings()
    assert all(setting == known[setting.name] for setting in matcher.settings)


@EVERY_MATCHER
def test_documented_parameters_are_those_of_the_signature(matcher):
    section = re.search(
        r"^Parameters\n-+\n(.*?)\n\n\w+\n-+\n", matcher.doc, re.DOTALL | re.MULTILINE
    )
    names = re.findall(r"^([\w, ]+) : ", section[1], re.MULTILINE)
    found = [name.strip() for line in names for name in line.split(",")]
    assert found == list(inspect.signature(matcher.function).parameters)


@EVERY_MATCHER
@pytest.mark.parametrize("section", SECTIONS)
def test_docstring_has_its_sections(matcher, section):
    assert re.search(rf"^{section}\n-+$", matcher.doc, re.MULTILINE)


@EVERY_MATCHER
@pytest.mark.parametrize("label", ["Cost: ", "Source: "])
def test_notes_name_cost_and_source(matcher, label):
    notes = matcher.doc.partition("\nNotes\n")[2]
    assert re.search(rf"^{label}\S", notes, re.MULTILINE)


@EVERY_MATCHER
def test_first_line_is_a_sentence(matcher):
    assert re.fullmatch(r"[A-Z][^\n]*\.", matcher.doc.partition("\n\n")[0])


@EVERY_MATCHER
def test_doctest_runs(matcher):
    test = doctest.DocTestParser().get_doctest(matcher.doc, {}, matcher.method, None, None)
    assert test.examples
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


# ------------------------------------------------------------------------------------ result


@EVERY_MATCHER
def test_before_and_after_are_measured(matcher):
    found = match(matcher, *pair(1))
    assert [found.before.id, found.after.id] == ["before", "after"]
    assert np.isfinite(found.after.value)


@EVERY_MATCHER
def test_same_seed_same_digits(matcher):
    assert digits(match(matcher, *pair(2), seed=5)) == digits(match(matcher, *pair(2), seed=5))


@EVERY_MATCHER
def test_recorded_settings_give_the_same_fit(matcher):
    found = match(matcher, *pair(3), metric="none")
    known = [setting.name for setting in matcher.settings]
    recorded = {name: found.settings[name] for name in known}
    assert digits(match(matcher, *pair(3), metric="none", **recorded)) == digits(found)


@EVERY_MATCHER
def test_every_warning_has_a_known_code(matcher):
    found = match(matcher, *pair(4))
    assert {note.code for result in found.results for note in result.warnings} <= set(CODES)


@EVERY_MATCHER
def test_input_is_never_changed(matcher):
    x, y = pair(5)
    kept = x.copy(), y.copy()
    match(matcher, x, y)
    assert SAME(x, kept[0])
    assert SAME(y, kept[1])


@EVERY_MATCHER
def test_one_column_is_never_changed(matcher):
    """Its transpose is the same memory."""
    if (matcher.task.name, matcher.method) == ("weights", "is"):
        pytest.skip("takes two columns")
    x, y = (made[:, 0].copy() for made in pair(5))
    for one in (x, y):
        one.flags.writeable = False
    match(matcher, x, y)


@EVERY_MATCHER
def test_weights_given_are_never_changed(matcher):
    x, y = pair(6)
    weights = np.random.default_rng(6).random(60)
    kept = weights.copy()
    match(matcher, x, y, weights_x=weights)
    assert SAME(weights, kept)


@EVERY_MATCHER
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_undefined_number_is_refused_with_its_place(matcher, bad):
    x, y = pair(7)
    x[7, 1] = bad
    with pytest.raises(DivmatchError, match=r"^x: 1 row .*row 7, column 1"):
        match(matcher, x, y)


@EVERY_MATCHER
def test_unknown_setting_is_refused(matcher):
    with pytest.raises(DivmatchError, match=f"--method {matcher.method} has no setting 'colour'"):
        match(matcher, *pair(8), colour="red")


AWKWARD = {
    "one row": (np.zeros((1, 2)), np.ones((5, 2))),
    "the same row": (np.ones((1, 2)), np.ones((1, 2))),
    "constant column": (np.c_[pair(9)[0], np.ones(60)], np.c_[pair(9)[1], np.ones(50)]),
    "another constant": (np.c_[pair(9)[0], np.ones(60)], np.c_[pair(9)[1], np.zeros(50)]),
    "twice the same column": (pair(9)[0][:, [0, 0]], pair(9)[1][:, [0, 0]]),
    "far apart": (pair(9)[0], pair(9)[1] + 1e6),
    "tied rows": (np.round(pair(9)[0]), np.round(pair(9)[1])),
    "huge": (pair(9)[0] * 1e60, pair(9)[1] * 1e60),
    "far from zero": (pair(9)[0] + 1e8, pair(9)[1] + 1e8),
    "more columns than rows": (pair(9, 8, 9, 20)[0], pair(9, 8, 9, 20)[1]),
}


@EVERY_MATCHER
@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_data_give_a_result_or_one_line(matcher, case):
    message, found = "", None
    try:
        found = match(matcher, *AWKWARD[case])
    except DivmatchError as error:
        message = str(error)
    assert bool(message) != bool(found)
    assert "\n" not in message
    if found is None:
        return
    json.dumps([result.as_dict() for result in found.results], allow_nan=False)
    assert np.isfinite(found.points).all()
    assert np.isfinite(found.weights).all()


# ----------------------------------------------------------------------------------- weights


@EVERY_WEIGHING
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_are_one_a_row_at_least_zero_and_sum_to_one(matcher, weighted):
    given = np.random.default_rng(10).random(60) + 0.1 if weighted else None
    weights = match(matcher, *pair(10), metric="none", weights_x=given).weights
    assert weights.shape == (60,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0, abs=ROUNDING(60))


@EVERY_WEIGHING
def test_weights_go_with_their_rows(matcher):
    """Another order of the rows is the same order of the weights."""
    if matcher.random:
        pytest.skip("its draws go by the order of the rows")
    x, y = pair(11)
    order = np.random.default_rng(11).permutation(60)
    found = match(matcher, x[order], y[::-1], metric="none").weights
    assert found == pytest.approx(match(matcher, x, y, metric="none").weights[order], abs=1e-8)


@EVERY_WEIGHING
def test_rows_without_weight_stay_without(matcher):
    x, y = pair(12)
    given = np.ones(60)
    given[[3, 17]] = 0.0
    assert not match(matcher, x, y, metric="none", weights_x=given).weights[[3, 17]].any()


@EVERY_WEIGHING
def test_effective_size_is_kish(matcher):
    found = match(matcher, *pair(13), metric="none")
    assert found.of("ess").value == pytest.approx(1 / (found.weights**2).sum(), rel=1e-12)


# -------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    made = tmp_path_factory.mktemp("matches")
    for name, rows in zip(("p.npy", "q.npy"), pair(14), strict=True):
        np.save(made / name, rows)
    return made


@pytest.fixture
def start(data, monkeypatch, capfd):
    """Run a method on the files: its document, checked against the schema."""
    monkeypatch.chdir(data)
    schema = json.loads(files("divmatch").joinpath("result.schema.json").read_text())

    def go(matcher, *options):
        names = ["p.npy"] if matcher.candidate == "never" else ["p.npy", "q.npy"]
        given = NEEDED.get((matcher.task.name, matcher.method), {})
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]
        line = ["match", matcher.task.name, *names, "--method", matcher.method, *flags]
        code = run([*line, *options, "-f", "json", "-q"])
        printed, errors = capfd.readouterr()
        assert code == 0, errors
        document = json.loads(printed)
        jsonschema.validate(document, schema)
        return document

    return go


@EVERY_MATCHER
def test_command_says_what_the_function_says(start, matcher):
    document = start(matcher, "--no-run")
    found = match(matcher, *pair(14))
    assert [r["value"] for r in document["results"]] == [r.value for r in found.results]
    assert document["settings"]["converged"] is True


@EVERY_WEIGHING
def test_outputs_hold_the_weights(start, data, matcher):
    start(matcher, "-o", "w.npy", "-o", "w.npz", "-o", "w.parquet", "--metric", "none")
    weights = match(matcher, *pair(14), metric="none").weights
    assert SAME(np.load(data / "w.npy"), weights)
    assert SAME(np.load(data / "w.npz")["weights"], weights)
    assert SAME(parquet.read_table(data / "w.parquet")["weight"].to_numpy(), weights)
