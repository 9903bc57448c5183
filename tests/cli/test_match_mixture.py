"""`divmatch match mixture`: files in and out, what reads them, refusals in one line."""

import json
from importlib.resources import files

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from divmatch.cli.main import run
from divmatch.mixtures import read_mixture
from tests.tolerances import SAME


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """(exit code, output, errors) of a command line in a folder with rows of two clusters."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 2)) + np.repeat([[-4.0, 0.0], [4.0, 1.0]], 30, axis=0)
    np.save("p.npy", rows)
    np.save("wide.npy", np.ones((9, 3)))
    (tmp_path / "words.csv").write_text("a,w\n1,x\n2,y\n4,x\n")
    for name, shift, n in (("one", 0.0, 100), ("two", 0.1, 300)):
        np.savez(
            f"{name}.npz",
            weights=[0.5, 0.5],
            means=[[-4.0 + shift, 0.0], [4.0, 1.0]],
            covariances=np.ones(2),
            n=n,
        )

    def start(line):
        code = run(["match", "mixture", *line.split()])
        printed, errors = capfd.readouterr()
        return code, printed, errors

    return start


def test_file_holds_the_mixture_and_nothing_pickled(here):
    assert here("p.npy --components 2 -o m.npz")[0] == 0
    with np.load("m.npz", allow_pickle=False) as held:
        shapes = {name: held[name].shape for name in held.files}
    assert shapes == {"weights": (2,), "means": (2, 2), "covariances": (2, 2, 2), "n": ()}


def test_names_of_columns_stand_in_the_file_and_must_agree(here):
    rows = np.load("p.npy")
    parquet.write_table(pa.table({"a": rows[:, 0], "b": rows[:, 1]}), "t.parquet")
    parquet.write_table(pa.table({"a": rows[:, 0], "c": rows[:, 1]}), "u.parquet")
    for name in "tu":
        assert here(f"{name}.parquet --components 2 --metric none -o {name}.npz")[0] == 0
    assert read_mixture("t.npz").columns == ("a", "b")
    code, _, errors = here("t.npz u.npz --reduce 2")
    assert (code, errors.count("\n")) == (2, 1)
    assert "u.npz has the columns a, c, t.npz has a, b" in errors


def test_text_says_what_the_rows_say(here):
    code, printed, errors = here("p.npy --components 2")
    assert (code, errors) == (0, "")
    assert printed.startswith("mixture of p.npy (60 rows): 2 components\nlog-likelihood a row ")
    assert "held out: fits to one half of the rows" in printed
    assert "\nconverged: steps of the fit " in printed


def test_record_follows_the_schema(here):
    code, printed, _ = here("one.npz two.npz --reduce 2 --held-out p.npy -f json")
    document = json.loads(printed)
    schema = json.loads(files("divmatch").joinpath("result.schema.json").read_text())
    jsonschema.validate(document, schema)
    ids = [result["id"] for result in document["results"]]
    assert (code, ids) == (0, ["before", "after", "gain", "divergence", "mw2"])
    assert document["settings"]["rows"] == 400


@pytest.mark.parametrize("form", ["csv", "tsv", "ndjson", "markdown", "junit", "github", "value"])
def test_every_form_of_report_is_written(here, form):
    assert here(f"one.npz --reduce 1 -f {form}")[0] == 0


def test_frechet_and_ksd_read_the_file(here, capfd):
    assert here("p.npy --components 2 --metric none -o m.npz")[0] == 0
    assert run(["frechet", "m.npz", "m.npz", "--mixture", "-f", "value"]) == 0
    assert float(capfd.readouterr().out) < 1e-12
    for target in ("m.npz", "mixture:m.npz"):
        assert run(["ksd", "p.npy", "--target", target, "-f", "value"]) == 0
    first, second = capfd.readouterr().out.split()
    assert first == second


def test_frechet_takes_a_stored_mixture_and_rows(here, capfd):
    for cost in ("w2", "kl", "jeffreys"):
        line = ["frechet", "one.npz", "p.npy", "--mixture", "2", "--mixture-cost", cost]
        assert run([*line, "-q", "-f", "value"]) == 0
    assert len(capfd.readouterr().out.split()) == 3


def test_matrix_of_kl_costs_has_both_directions(here, capfd):
    rows = np.load("p.npy")
    np.save("q.npy", rows * [1.0, 2.0])
    metric = "frechet:mixture=2,mixture_cost=kl"
    assert run(["matrix", "p.npy", "q.npy", "--metric", metric, "-f", "json", "-q"]) == 0
    results = json.loads(capfd.readouterr().out)["results"]
    values = {(one["row"], one["column"]): one["value"] for one in results}
    assert values[0, 1] != values[1, 0]


def test_merge_has_the_shares_of_the_rows(here):
    code, printed, _ = here("one.npz two.npz -o all.npz")
    assert (code, "reduced" in printed) == (0, False)
    found = read_mixture("all.npz")
    assert found.components.shares.tolist() == [0.125, 0.125, 0.375, 0.375]
    assert found.rows == 400


def test_trace_has_the_fit_and_the_reduction(here):
    here("p.npy --components 3 --reduce 2 --metric none --trace t.csv")
    with open("t.csv") as file:
        lines = file.read().splitlines()
    assert lines[0] == "iteration,log_likelihood,divergence"
    assert lines[1].startswith("0,-")
    assert lines[-1].split(",")[1] == ""


def test_same_seed_same_bytes(here):
    found = []
    for name in ("a", "b"):
        here(f"p.npy --components 3 --metric none -o {name}.npz")
        with open(f"{name}.npz", "rb") as file:
            found.append(file.read())
    assert found[0] == found[1]


def test_fit_goes_on_where_it_was_stopped(here, monkeypatch):
    from divmatch.cli import watching

    monkeypatch.setattr(watching, "PERIOD", 0.0)
    assert here("p.npy --components 4 --starts 2 --metric none -o whole.npz")[0] in (0, 3)
    done = watching.Watched.finished
    monkeypatch.setattr(watching.Watched, "finished", lambda self: None)
    here("p.npy --components 4 --starts 2 --metric none --checkpoint c --progress never")
    monkeypatch.setattr(watching.Watched, "finished", done)
    code, _, _ = here(
        "p.npy --components 4 --starts 2 --metric none --checkpoint c -o rest.npz --trace t.csv"
    )
    with open("t.csv") as file:
        begun = file.read().splitlines()[1]
    assert code in (0, 3)
    assert int(begun.split(",")[0]) > 0
    one, other = (read_mixture(f"{name}.npz").components for name in ("whole", "rest"))
    assert other.means == pytest.approx(one.means, rel=1e-9)


def test_limits_are_of_the_likelihood_after(here):
    assert here("p.npy --components 2 --min -5")[0] == 0
    assert here("p.npy --components 2 --min -1")[0] == 1


def test_plot_is_drawn(here):
    pytest.importorskip("matplotlib")
    assert here("p.npy --components 3 --reduce 2 --metric none --plot m.png")[0] == 0
    with open("m.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "missing argument 'P'"),
        ("p.npy", "--components: p.npy holds rows"),
        ("one.npz", "one.npz: is a mixture already; give --reduce or --held-out"),
        ("one.npz --components 2", "--components: there are no rows to fit"),
        ("one.npz --reduce 3", "--reduce 3: there are 2 components; give at most 2"),
        ("one.npz two.npz --reduce 9", "--reduce 9: there are 4 components"),
        ("wide.npy p.npy --components 1", "columns"),
        ("one.npz --reduce 1 --held-out wide.npy", "wide.npy has 3 columns, one.npz has 2"),
        ("none.npz --reduce 1", "none.npz: no such file"),
        ("one.npz --reduce 1 -o m.npy", "-o m.npy: no format has the suffix '.npy'"),
        ("one.npz --reduce 1 -o one.npz", "is the input one.npz"),
        ("words.csv --components 1", "column 'w' holds categories, which have no Gaussian"),
        ("one.npz --reduce 1 --columns 0", "mixtures have no rows"),
        ("p.npy --components 2 --metric none --held-out p.npy", "--held-out: has no effect"),
        ("bad/half.npz --reduce 1", "half.npz::weights sum to 0.7"),
        ("bad/nan.npz --reduce 1", "nan.npz::means: 1 row with NaN"),
        ("bad/skew.npz --reduce 1", "a matrix that is not symmetric"),
        ("bad/minus.npz --reduce 1", "has a negative eigenvalue"),
        ("bad/few.npz --reduce 1", r"few.npz::means has shape (1, 2), expected (2, d)"),
        ("bad/rows.npz --reduce 1", "'n' is 0, expected a number of rows"),
        ("bad/names.npz --reduce 1", "names.npz::columns has 1 name, expected 2"),
        ("bad/objects.npz --reduce 1", "never unpickled"),
        ("bad/torn.npz --reduce 1", "torn.npz: cannot be read as .npz"),
    ],
)
def test_refusal_is_one_line(here, tmp_path, line, message):
    bad = tmp_path / "bad"
    bad.mkdir()
    good = {"weights": [0.5, 0.5], "means": np.zeros((2, 2)), "covariances": np.ones(2)}
    skew, minus = np.array([[[1.0, 0.5], [0.0, 1.0]]] * 2), -np.array([np.eye(2)] * 2)
    for name, changed in (
        ("half", {"weights": [0.5, 0.2]}),
        ("nan", {"means": [[np.nan, 0.0], [0.0, 0.0]]}),
        ("skew", {"covariances": skew}),
        ("minus", {"covariances": minus}),
        ("few", {"means": np.zeros((1, 2))}),
        ("rows", {"n": 0}),
        ("names", {"columns": np.array(["a"])}),
        ("objects", {"means": np.array([[{}, {}]] * 2, dtype=object)}),
    ):
        np.savez(bad / f"{name}.npz", **{**good, **changed})
    (bad / "torn.npz").write_bytes((bad / "half.npz").read_bytes()[:200])
    code, printed, errors = here(line)
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert message in errors


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((1, 2)), "one row has no covariance"),
        (np.column_stack([np.arange(9.0), np.full(9, 3.0)]), "a constant column"),
        (np.arange(4.0).reshape(2, 2), "2 rows have fewer places than the 3 components"),
    ],
)
def test_rows_without_a_mixture_end_in_exit_3_and_no_file(here, tmp_path, values, message):
    np.save("x.npy", values)
    code, printed, errors = here("x.npy --components 3 -o m.npz")
    assert (code, errors.count("\n")) == (3, 1)
    assert message in errors
    assert "mixture of x.npy" in printed
    assert not (tmp_path / "m.npz").exists()


def test_halves_without_a_fit_leave_the_mixture_and_no_figure(here, tmp_path):
    np.save("x.npy", np.random.default_rng(1).normal(size=(3, 1)))
    code, _, errors = here("x.npy --components 1 -o m.npz")
    assert code == 3
    assert "W70" in errors
    assert (tmp_path / "m.npz").exists()


def test_stored_numbers_are_those_that_were_read(here):
    assert here("one.npz --held-out p.npy -o again.npz")[0] == 0
    one, other = read_mixture("one.npz"), read_mixture("again.npz")
    for name, values in one.arrays().items():
        assert SAME(values, other.arrays()[name])
