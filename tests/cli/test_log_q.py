"""`kl P --log-q`: a file or a column of log-densities in the place of Q."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from divmatch.encoding import encode
from divmatch.files import read_table
from divmatch.tables import Reading
from tests.tolerances import SAME


@pytest.fixture(scope="module")
def logs(data):
    """The log-density of a standard normal at the rows of p.npy: a file, and a column of tables."""
    p = np.load(data / "p.npy")
    made = -0.5 * (p**2).sum(axis=1) - 2 * np.log(2 * np.pi)
    np.save(data / "logs.npy", made)
    np.save(data / "with-logs.npy", np.column_stack([p, made]))
    names = [*"abcd", "log q"]
    columns = dict(zip(names, np.column_stack([p, made]).T, strict=True))
    parquet.write_table(pa.table(columns), data / "with-logs.parquet")
    gaps = {**columns, "a": np.where(np.arange(500) < 7, np.nan, columns["a"])}
    parquet.write_table(pa.table(gaps), data / "gaps.parquet")
    parquet.write_table(pa.table({**columns, "e": ["x"] * 500}), data / "words.parquet")
    return made


def value(here, *line):
    code, printed, errors = here(["kl", *line, "-f", "value"])
    assert code == 0, errors
    return float(printed)


@pytest.mark.parametrize(
    ("p", "log_q"),
    [("with-logs.npy", "4"), ("with-logs.parquet", "log q"), ("p.npy", "with-logs.parquet::log q")],
)
def test_a_column_is_as_good_as_a_file(here, logs, p, log_q):
    assert value(here, p, "--log-q", log_q) == value(here, "p.npy", "--log-q", "logs.npy")


def test_the_columns_of_p_keep_their_unit(here, logs):
    """Tables are scaled by default: their density would be another one."""
    document = json.loads(here(["kl", "with-logs.parquet", "--log-q", "log q", "-f", "json"])[1])
    assert (document["settings"]["scale"], document["results"][0]["n"]) == ("none", [500])


def test_both_inputs_are_recorded(here, logs):
    document = json.loads(here("kl p.npy --log-q logs.npy -f json")[1])
    found = [(one["role"], one["name"], one["rows"], one["cols"]) for one in document["inputs"]]
    assert found == [("p", "p.npy", 500, 4), ("q", "logs.npy", 500, 1)]
    assert document["results"][0]["direction"] == "P||Q"


def test_text_names_the_density(here, logs):
    printed = here("kl p.npy --log-q logs.npy")[1]
    assert printed.startswith("KL(P=p.npy || Q=logs.npy)")
    assert printed.endswith("knn k=5   n = 500   d = 4\n")


@pytest.mark.parametrize("form", ["json", "ndjson", "csv", "tsv", "markdown", "junit", "github"])
def test_every_format_has_one_sample(here, logs, form):
    assert here(f"kl p.npy --log-q logs.npy -f {form}")[0] == 0


def test_dropped_rows_take_their_densities_with_them(here, logs, data):
    np.save(data / "rest.npy", np.load(data / "p.npy")[7:])
    np.save(data / "rest-logs.npy", logs[7:])
    found = value(here, "gaps.parquet", "--log-q", "log q", "--na", "drop")
    assert found == value(here, "rest.npy", "--log-q", "rest-logs.npy")


@pytest.mark.parametrize("name", ["numbered.npy", "numbered.parquet"])
def test_sampled_rows_take_their_densities_with_them(data, name):
    numbers = np.arange(500.0)
    np.save(data / "numbers.npy", numbers)
    np.save(data / "numbered.npy", numbers)
    parquet.write_table(pa.table({"a": numbers}), data / "numbered.parquet")
    reading = Reading(sample=200, scale="none", log_q=str(data / "numbers.npy"))
    (x,) = encode(read_table(str(data / name), reading), reading=reading)
    assert x.n == 200
    assert SAME(x.beside["log_q"], x.points[:, 0])


def test_bits_are_nats_over_ln_2(here, logs):
    nats = value(here, "p.npy", "--log-q", "logs.npy")
    assert value(here, "p.npy", "--log-q", "logs.npy", "--unit", "bits") == pytest.approx(
        nats / np.log(2), rel=1e-12
    )


def test_limits_apply(here, logs):
    assert here("kl p.npy --log-q logs.npy --max 5")[0] == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("p.npy", "kl: missing argument 'Q'; --log-q takes the place of Q"),
        ("p.npy q.npy --log-q logs.npy", "expected Q or --log-q, not both"),
        ("p.npy --log-q logs.npy --both", "--both: needs rows of Q"),
        ("p.npy --log-q logs.npy --permutations 9", "--permutations: needs rows of Q"),
        ("p.npy --log-q logs.npy --weights-q mass.npy", "--weights-q: needs rows of Q"),
        ("p.npy --log-q logs.npy --method nnr", "cannot be combined with --log-q, expected knn"),
        ("p.npy --log-q logs.npy --ties drop", "kl --log-q has no setting 'ties'"),
        ("p.npy --log-q logs.npy --scale ref-sd", "--scale ref-sd: would change the rows"),
        ("p.npy --log-q logs.npy --na mean", "--na mean: would change the rows"),
        ("p.npy --log-q nothing", "p.npy: --log-q: column 'nothing' not found"),
        ("p.npy --log-q absent.npy", "absent.npy: no such file"),
        ("p.npy --log-q near.npy", "near.npy: holds 800 log-densities, but p.npy has 500 rows"),
        ("p.npy --log-q p.parquet", "pick the one with the log-densities, p.parquet::COLUMN"),
        ("words.parquet --log-q e", "column 'e' holds string, no log-densities"),
        ("words.parquet --log-q logs.npy", "column 'e' holds categories, which have no density"),
        ("p.npy --log-q logs.npy -o logs.npy.csv --strict -k 0", "-k 0: expected"),
    ],
)
def test_what_cannot_be_is_one_line(here, logs, line, says):
    code, printed, errors = here(f"kl {line}")
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert says in errors


def test_the_densities_are_never_replaced(here, logs, data):
    (data / "logs.csv").write_text("".join(f"{number}\n" for number in ["q", *logs]))
    code, printed, errors = here("kl p.npy --log-q logs.csv -o logs.csv")
    assert (code, printed, "is the input logs.csv" in errors) == (2, "", True)


def test_a_configured_density_is_relative_to_its_file(here, logs, data, tmp_path):
    (tmp_path / "own.toml").write_text('[kl]\nlog-q = "logs.npy"\n')
    np.save(tmp_path / "logs.npy", logs)
    assert here(f"kl p.npy --config {tmp_path}/own.toml")[0] == 0
    assert here(f"config check {tmp_path}/own.toml") == (0, "ok\n", "")
