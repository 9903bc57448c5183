"""`divmatch match`: what the commands share, on the example of weights."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from divmatch.cli.progress import Progress
from divmatch.cli.watching import Watched
from divmatch.errors import DivmatchError
from divmatch.matcher import Fit, Matcher, task
from tests.tolerances import SAME, SOLVER


@pytest.fixture(scope="module")
def files(data):
    """A survey and a census with a word, a number and an identifier; a population's margins."""
    rng = np.random.default_rng(3)
    for name, shares, mean, rows in (
        ("survey", [5, 3, 2], 45, 300),
        ("census", [2, 3, 5], 40, 250),
    ):
        table = {
            "id": [f"{name}{k}" for k in range(rows)],
            "region": rng.choice(["north", "south", "west"], rows, p=np.array(shares) / 10),
            "age": rng.normal(mean, 12, rows).round(),
        }
        parquet.write_table(pa.table(table), data / f"{name}.parquet")
    (data / "margins.toml").write_text(
        "[age]\nmean = 41\nsd = 13\n[region]\nnorth = 4\nsouth = 4\nwest = 2\n"
    )
    gaps = parquet.read_table(data / "survey.parquet").to_pydict()
    gaps["age"][:5] = [None] * 5
    parquet.write_table(pa.table(gaps), data / "gaps.parquet")
    return data


def sentence(printed):
    return printed.splitlines()[0]


def test_session_of_the_manual(here, files):
    line = "match weights survey.parquet census.parquet --columns age,region -o w.npy"
    code, printed, errors = here(line)
    assert (code, errors) == (0, "")
    assert re.fullmatch(
        r"weights for survey\.parquet \(300 rows\) to match census\.parquet: energy [\d.]+ -> "
        r"-?[\d.]+ ref-iqr, ESS \d+ \(\d+%\), max weight [\d.]+",
        sentence(printed),
    )


def test_weights_are_a_weights_file_of_the_other_commands(here, files):
    assert here("match weights p.npy q.npy -o w.npy")[0] == 0
    before = float(here("energy p.npy q.npy -f value -q")[1])
    after = float(here("energy p.npy q.npy --weights-p w.npy -f value -q")[1])
    assert after < 0.5 * before


def test_other_columns_are_carried_along(here, files):
    line = "match weights survey.parquet census.parquet --columns age,region -o w.parquet"
    assert here(line)[0] == 0
    made, given = (parquet.read_table(files / f"{n}.parquet") for n in ("w", "survey"))
    assert made.column_names == [*given.column_names, "weight"]
    assert made.drop_columns(["weight"]).equals(given)


def test_dropped_rows_have_weight_zero_at_their_place(here, files):
    line = "match weights gaps.parquet census.parquet --columns age,region --na drop -o g.npy"
    assert here(line)[0] == 0
    weights = np.load(files / "g.npy")
    assert weights.shape == (300,)
    assert not weights[:5].any()
    assert (weights[5:] > 0).all()


def test_a_column_that_would_be_hidden_is_refused(here, files):
    table = parquet.read_table(files / "survey.parquet").to_pydict()
    parquet.write_table(pa.table({**table, "weight": table["age"]}), files / "taken.parquet")
    line = "match weights taken.parquet census.parquet --columns age,region -o w.parquet"
    code, printed, errors = here(line)
    assert (code, printed) == (2, "")
    assert "has a column 'weight' already" in errors


def test_margins_need_no_candidate(here, files):
    code, printed, errors = here(
        "match weights survey.parquet --margins margins.toml --columns age,region -o m.npy"
    )
    assert (code, errors) == (0, "")
    assert sentence(printed).startswith("weights for survey.parquet (300 rows): imbalance ")
    weights, survey = np.load(files / "m.npy"), parquet.read_table(files / "survey.parquet")
    age, region = (survey[name].to_numpy() for name in ("age", "region"))
    shares = [weights[region == name].sum() for name in ("north", "south", "west")]
    assert shares == pytest.approx([0.4, 0.4, 0.2], abs=SOLVER(1e-10))
    assert weights @ age == pytest.approx(41.0, abs=SOLVER(1e-8))
    assert np.sqrt(weights @ (age - 41) ** 2) == pytest.approx(13.0, abs=SOLVER(1e-8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[age]\nmean = 99",
            "no weights of survey.parquet give age = 99 (rows of survey.parquet have",
        ),
        (
            "[region]\nnorth = 1\neast = 1",
            "[region] east: no row of P is 'east', but its share is 0.5",
        ),
        ("[region]\nnorth = -1\nwest = 2", "[region] north is -1, expected a share or total"),
        ("[rgion]\nnorth = 1\nwest = 2", "P has no categories 'rgion'; did you mean 'region'?"),
        ("[aeg]\nmean = 40", "P has no column of numbers 'aeg'; did you mean 'age'?"),
        ("[age]\nsd = 3", "[age] has sd without mean"),
        ("age = 3", "'age' is no table"),
        ("", "is empty"),
        ("[age", "not valid TOML"),
    ],
)
def test_margins_that_cannot_be_are_named(here, files, text, message):
    (files / "wrong.toml").write_text(text)
    code, _, errors = here(
        "match weights survey.parquet --margins wrong.toml --columns age,region -o no.npy"
    )
    assert code == (3 if "no weights" in message or "no row" in message else 2)
    assert message in errors
    assert not (files / "no.npy").exists()


def test_constraints_that_exclude_each_other_are_named(here, files):
    """Every mean is within reach, both at once are not."""
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.4]])
    np.save(files / "corner.npy", rows)
    np.save(files / "beyond.npy", np.full((4, 2), 0.8) + 0.01 * rows)
    code, _, errors = here("match weights corner.npy beyond.npy --metric none")
    assert code == 3
    assert re.search(r"no weights of 4 rows of corner.npy give \d = 0.8\d* \(at best ", errors)
    least = re.search(r"--delta ([\d.]+)", errors)[1]
    assert here(f"match weights corner.npy beyond.npy --metric none --delta {least}")[0] == 0


def test_limits_are_of_the_figure_after(here, files):
    assert here("match weights p.npy q.npy --max 0.01 --decide point")[0] == 0
    code, printed, _ = here("match weights p.npy q.npy --min 0.01 --decide point")
    assert (code, "FAIL  energy value" in printed) == (1, True)


def test_value_is_the_figure_after(here, files):
    printed = here("match weights p.npy q.npy -f value")[1]
    document = json.loads(here("match weights p.npy q.npy -f json")[1])
    assert [float(line) for line in printed.split()] == [document["results"][1]["value"]]


def test_a_metric_of_the_grammar_is_taken(here, files):
    document = json.loads(here("match weights p.npy q.npy --metric mmd:kernel=laplace -f json")[1])
    assert [r["metric"] for r in document["results"]] == ["mmd", "mmd", "ess"]


def test_a_wrong_metric_is_one_line(here, files):
    code, _, errors = here("match weights p.npy q.npy --metric enrgy")
    assert (code, errors.count("\n")) == (2, 1)
    assert "--metric: no quantity is called 'enrgy'; did you mean 'energy'?" in errors


def test_trace_has_a_line_for_each_step(here, files):
    assert here("match weights p.npy q.npy --trace trace.csv")[0] == 0
    lines = (files / "trace.csv").read_text().splitlines()
    assert lines[0] == "iteration,residual"
    assert float(lines[-1].split(",")[1]) <= 1e-10


def test_what_has_no_iterations_has_no_trace(here, files):
    code, _, errors = here("match weights p.npy q.npy --method ratio --trace none.csv")
    assert (code, "--method ratio has no iterations" in errors) == (2, True)
    assert not (files / "none.csv").exists()


def test_plot_is_drawn_or_refused_before_any_work(here, files):
    code, _, errors = here("match weights p.npy q.npy --plot before-after.png")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        assert (code, "--plot: needs matplotlib" in errors) == (2, True)
    else:
        assert (files / "before-after.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("method", "setting"),
    [("gel:chi2", "kind"), ("tilt:el", "kind"), ("dro:cvar", "ball"), ("ratio:kliep", "model")],
)
def test_a_word_after_the_method_says_which_kind(method, setting):
    name, _, word = method.partition(":")
    chosen, given = task("weights").spelled(method, {"delta": 0.1})
    assert (chosen.method, given) == (name, {"delta": 0.1, setting: word})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--method entropy:kl", "entropy is of one kind; words follow gel:, ratio:, tilt:, dro:"),
        ("--method gel:el --kind chi2", "names what --kind does; leave one out"),
        ("--method gell:el", "did you mean 'gel'?"),
        ("--method ratio:ulsfi", "--model ulsfi: expected classifier or ulsif or kliep"),
    ],
)
def test_a_wrong_word_is_one_line(here, files, line, message):
    code, _, errors = here(f"match weights p.npy q.npy {line}")
    assert (code, errors.count("\n"), message in errors) == (2, 1, True)


def test_spectral_is_extremile():
    chosen, given = task("weights").spelled("dro:spectral", {})
    assert chosen.checked(given)["ball"] == "extremile"


def test_before_is_known_where_no_half_can_be_fitted(here, files):
    """All rows meet the constraints, halves do not."""
    x, y = np.array([0.0] * 7 + [3.0]), np.array([0.0] * 3 + [3.0] * 5)
    np.save(files / "few.npy", x)
    np.save(files / "many.npy", y)
    code, printed, errors = here("match weights few.npy many.npy --max-weight 5.1")
    assert (code, "warning[W70]: no fit to a half" in errors) == (3, True)
    assert re.search(r"energy [\d.]+ -> undefined", printed)


def test_a_category_that_p_lacks_is_named(here, files):
    table = parquet.read_table(files / "census.parquet").to_pydict()
    table["region"][:25] = ["east"] * 25
    parquet.write_table(pa.table(table), files / "east.parquet")
    code, _, errors = here(
        "match weights survey.parquet east.parquet --columns age,region -o w.npy"
    )
    assert code == 3
    assert "no weights of survey.parquet give region=east = 0.1 (no row has it)" in errors


def test_unknown_task_is_suggested(here):
    assert here("match wieghts p.npy q.npy")[2] == (
        "divmatch: error: match: no such command 'wieghts'; did you mean 'weights'?\n"
    )


def test_kind_may_follow_the_method(here, files):
    with_colon = here("match weights p.npy q.npy --method gel:chi2 --metric none -f json --no-run")
    apart = here(
        "match weights p.npy q.npy --method gel --kind chi2 --metric none -f json --no-run"
    )
    assert with_colon == apart


def test_configuration_has_a_table_for_each_task(here, files):
    (files / "own.toml").write_text("[match.weights]\nmoments = 2\n")
    printed = here("match weights p.npy q.npy --config own.toml")[1]
    assert "entropy moments=2" in printed


# -------------------------------------------------------------------------------- checkpoints


def watch(path, identity="a"):
    made = Watched(Progress("never", None, "fit"), str(path), identity)
    made.written = -1e9  # long ago
    return made


def test_a_checkpoint_gives_back_what_was_kept(tmp_path):
    watch(tmp_path / "c.npz").keep(lambda: {"state": np.arange(3.0)})
    assert SAME(watch(tmp_path / "c.npz").kept()["state"], np.arange(3.0))


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    watch(tmp_path / "c.npz").keep(lambda: {"state": np.arange(3.0)})
    with pytest.raises(DivmatchError, match="belongs to other data or settings"):
        watch(tmp_path / "c.npz", "b").kept()


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:60] + bytes([whole[60] ^ 255]) + whole[61:],
        lambda whole: b"\x93NUMPY\x01\x00",
    ],
)
def test_a_spoilt_checkpoint_is_refused(tmp_path, spoilt):
    path = tmp_path / "c.npz"
    watch(path).keep(lambda: {"state": np.arange(3.0)})
    path.write_bytes(spoilt(path.read_bytes()))
    with pytest.raises(DivmatchError, match="is no checkpoint"):
        watch(path).kept()


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_fit(here):
    code, _, errors = here("match flow p.npy q.npy --checkpoint nowhere/c.npz")
    assert code == 4
    assert "no such folder" in errors


@pytest.mark.parametrize("name", ["-", "/dev/full"])
def test_a_checkpoint_is_a_file(here, name):
    code, _, errors = here(f"match flow p.npy q.npy --checkpoint {name}")
    assert code == 2
    assert "expected the name of a file" in errors


def test_a_checkpoint_is_no_output(here):
    code, _, errors = here("match flow p.npy q.npy --checkpoint m.npz -o m.npz")
    assert code == 2
    assert "named twice" in errors


def test_a_checkpoint_is_gone_at_the_end(tmp_path):
    made = watch(tmp_path / "c.npz")
    made.keep(lambda: {"state": np.arange(3.0)})
    made.finished()
    assert list(tmp_path.iterdir()) == []


def test_what_did_not_converge_is_inconclusive_and_passes_no_gate(here, files, monkeypatch):
    def stuck(x, y):
        return Fit(weights=x.masses(), converged=False)

    of = task("weights")
    monkeypatch.setitem(of.methods, "stuck", Matcher(of, "stuck", stuck, (), "none", "always"))
    code, printed, errors = here("match weights p.npy q.npy --method stuck --max 9")
    assert (code, "NOT CONVERGED" in printed) == (3, True)
    assert "INCONCLUSIVE  energy" in printed
    assert "warning[W68]: weights --method stuck was not converged" in errors


def test_standard_input_is_matched_and_only_its_weights_are_written(run, files):
    made = run(shell="cat p.npy | divmatch match weights - q.npy -o piped.parquet -q")
    assert (made.returncode, made.stderr) == (0, "")
    assert parquet.read_table(files / "piped.parquet").column_names == ["weight"]


def test_samples_that_are_alike_before_are_said_to_be(here, files):
    errors = here("match weights p.npy near.npy")[2]
    assert errors.count("warning[W04]: these rows do not tell P from Q before") == 1
