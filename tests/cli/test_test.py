"""divmatch test: designs from columns and files, precision, equivalence, power."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from divmatch.cli.gate import CODES
from divmatch.cli.test import equivalence
from divmatch.record import Interval, Note, Result, Test

N = 30


@pytest.fixture(scope="module")
def folder(data):
    """Pairs with one effect a pair, Q in another order; the same as arrays and as tables."""
    rng = np.random.default_rng(5)
    effect = 3 * rng.normal(size=(N, 1))
    p, q = (effect + 0.3 * rng.normal(size=(N, 2)) + shift for shift in (0, 0.3))
    order = rng.permutation(N)
    np.save(data / "pair-p.npy", p)
    np.save(data / "pair-q.npy", q[order])
    np.save(data / "row-q.npy", q)
    np.save(data / "key-p.npy", np.arange(N))
    np.save(data / "key-q.npy", order)
    np.save(data / "tagged-p.npy", np.column_stack([p, np.arange(N)]))
    np.save(data / "tagged-q.npy", np.column_stack([q[order], order]))
    for name, points, key in (("p", p, np.arange(N)), ("q", q[order], order)):
        table = pa.table(
            {
                "a": points[:, 0],
                "b": points[:, 1],
                "id": [f"s{k}" for k in key],
                "day": key % 3,
                "team": [f"{name}{k % 4}" for k in key],
            }
        )
        csv.write_csv(table, data / f"pair-{name}.csv")
        parquet.write_table(table, data / f"pair-{name}.parquet")
        csv.write_csv(table.slice(0, 25), data / f"few-{name}.csv")
    np.save(data / "tiny-p.npy", [0.0, 1.0, 2.0, 3.0])
    np.save(data / "tiny-q.npy", [5.0, 6.0, 7.0, 8.0])
    return data


@pytest.fixture
def result(folder, here):
    """The only result of a command line that ends well."""

    def of(line):
        code, printed, errors = here(f"test {line} -q -f json")
        assert code == 0, errors
        return json.loads(printed)["results"][0]

    return of


KEYS = "pair-p.npy pair-q.npy --paired key-p.npy,key-q.npy"


@pytest.mark.parametrize(
    "line",
    [
        "tagged-p.npy tagged-q.npy --paired 2",
        "pair-p.csv pair-q.csv --columns a,b --paired id --scale none",
        "pair-p.parquet pair-q.parquet --columns a,b --paired id --scale none",
        "pair-p.npy pair-q.npy --paired pair-p.csv::id,pair-q.csv::id",
    ],
)
def test_keys_may_stand_in_columns_or_files(result, line):
    assert result(line)["test"]["p_value"] == result(KEYS)["test"]["p_value"]


def test_rows_may_be_paired_by_their_place(result):
    found = result("pair-p.npy row-q.npy --paired @row")
    assert found["se"] == pytest.approx(result(KEYS)["se"], rel=1e-9)


def test_pairs_show_what_independent_rows_hide(result):
    alone = result("pair-p.npy pair-q.npy")["test"]["p_value"]
    assert result(KEYS)["test"]["p_value"] < 0.01 < alone


@pytest.mark.parametrize("flags", ["--paired id", "--blocks day", "--cluster team"])
def test_design_is_no_part_of_the_points(result, flags):
    column = flags.split()[1]
    line = f"pair-p.csv pair-q.csv {flags} --columns a,b"
    assert result(f"{line},{column}")["value"] == result(line)["value"]


@pytest.mark.parametrize(
    ("flags", "name"),
    [("--paired id", "paired"), ("--blocks day", "blocks"), ("--cluster team", "cluster")],
)
def test_record_names_the_design(result, flags, name):
    assert result(f"pair-p.csv pair-q.csv {flags}")["test"]["design"] == name


def test_clusters_are_enumerated(result):
    """Four clusters of each file: 70 ways to choose four of eight."""
    found = result("pair-p.csv pair-q.csv --cluster team --columns a,b")["test"]
    assert (found["method"], found["permutations"]) == ("exact", 69)


def test_rows_without_a_partner_are_counted(folder, here):
    errors = here("test few-p.csv pair-q.csv --paired id --columns a,b")[2]
    assert (
        "warning[W39]: pair-q.csv: 5 of 30 rows left out, their keys are not in few-p.csv" in errors
    )


def test_rows_without_a_partner_are_in_the_record(folder, here):
    printed = here("test few-p.csv pair-q.csv --paired id -q -f json")[1]
    assert json.loads(printed)["inputs"][1]["dropped"] == {"unpaired": 5}


def test_dropped_rows_take_their_keys_along(folder, here):
    text = (folder / "pair-p.csv").read_text().splitlines()
    text[3] = "," + text[3].partition(",")[2]
    (folder / "gap-p.csv").write_text("\n".join(text) + "\n")
    errors = here("test gap-p.csv pair-q.csv --paired id --na drop --columns a,b")[2]
    assert "1 of 30 rows left out" in errors


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--paired idd", "column 'idd' not found; did you mean 'id'?"),
        ("--paired day", "key '0' is in P 10 times"),
        ("--paired a", "no key is in both P and Q"),
        ("--cluster day", "cluster '0' has rows of both P and Q"),
        ("--blocks team", "no block has rows of both P and Q"),
        ("--paired id --blocks day", "--paired: cannot be combined with --blocks"),
        ("--paired id --sample 9", "--sample: draws rows of P and of Q by themselves"),
        ("--blocks @row", "only --paired goes by the places of rows"),
        ("--blocks day,", "expected a column, or two files"),
        ("--blocks key-p.npy,mass.npy", "mass.npy: has 500 rows, pair-q.csv has 30"),
        ("--blocks key-p.npy,p.npy", "p.npy: holds 4 columns, expected one"),
        ("--precision 0.09", "p-values below 0.1 cannot occur"),
        ("--equivalence 1 --level 0.95", "--equivalence goes by the 0.9 interval"),
        ("--equivalence 1 --alpha 0.5", "needs a level below 0.5"),
    ],
)
def test_refused_in_one_line(folder, here, flags, message):
    code, _, errors = here(f"test pair-p.csv pair-q.csv {flags}")
    assert (code, message in errors, errors.count("\n")) == (2, True, 1), errors


def test_blocks_may_be_days(result, data):
    """Dates are no data, and say all the same which rows go together."""
    for name in "pq":
        table = csv.read_csv(data / f"pair-{name}.csv")
        days = pa.array([f"2024-01-0{k + 1}" for k in table["day"].to_pylist()])
        dated = table.append_column("date", days.cast("timestamp[s]").cast("date32"))
        parquet.write_table(dated, data / f"dated-{name}.parquet")
    line = "--columns a,b --blocks"
    found = result(f"dated-p.parquet dated-q.parquet {line} date")
    assert found["test"] == result(f"pair-p.csv pair-q.csv {line} day")["test"]


def test_large_whole_keys_are_told_apart(result, data):
    for name in "pq":
        keys = np.load(data / f"key-{name}.npy") + 2**60
        np.save(data / f"large-{name}.npy", keys)
    found = result("pair-p.npy pair-q.npy --paired large-p.npy,large-q.npy")
    assert found["test"] == result(KEYS)["test"]


def test_keys_may_stand_next_to_a_column_of_lists(result, data):
    for name in "pq":
        table = csv.read_csv(data / f"pair-{name}.csv")
        rows = np.column_stack([table["a"], table["b"]]).tolist()
        made = table.select(["id"]).append_column("emb", pa.array(rows))
        parquet.write_table(made, data / f"list-{name}.parquet")
    found = result("list-p.parquet::emb list-q.parquet::emb --paired id")
    assert found["test"]["p_value"] == result(KEYS)["test"]["p_value"]


def test_sampled_rows_take_their_blocks_along(result):
    line = "pair-p.csv pair-q.csv --blocks day --columns a,b --sample 20"
    assert result(line)["n"] == [20, 20]


def test_a_column_of_standard_input_is_refused(folder, here, run):
    found = run(shell="cat pair-p.csv | divmatch test - pair-q.csv --paired id")
    assert (found.returncode, "standard input is read only once" in found.stderr) == (2, True)


def test_missing_keys_are_refused(folder, here):
    np.save(folder / "hole.npy", np.where(np.arange(N) == 7, np.nan, np.arange(N)))
    errors = here("test pair-p.npy row-q.npy --paired hole.npy,key-p.npy")[2]
    assert "has no value at row 7 (from 0)" in errors


# ---------------------------------------------------------------------------- exact, precision


def test_all_splits_of_few_rows_are_taken(folder, here):
    assert "p = 0.02857 (all 70 splits)" in here("test tiny-p.npy tiny-q.npy -q")[1]


def test_monte_carlo_error_is_in_the_record(result):
    assert 0 < result("pair-p.npy pair-q.npy")["test"]["monte_carlo_se"] < 0.02


def test_precision_is_kept_without_permutations(result):
    assert result("pair-p.npy pair-q.npy --precision 0.005")["test"]["monte_carlo_se"] <= 0.005


def test_permutations_are_the_most_that_are_drawn(folder, here):
    errors = here("test pair-p.npy pair-q.npy --precision 0.002 -B 99")[2]
    assert "warning[W06]: --precision 0.002: the p-value's Monte Carlo error is" in errors


def test_the_text_tells_error_and_power(folder, here):
    last = here("test p.npy q.npy -q")[1].splitlines()[-1]
    assert last == "p +- 0.000998 Monte Carlo; power 1 if the true value were the estimate"


# --------------------------------------------------------------------------------- equivalence


def measured(value, low, high, *notes, sd=0.01, mean=0.0, design=None):
    return Result(
        metric="energy",
        method="u",
        value=value,
        unit="1",
        direction="symmetric",
        n=(50, 50),
        d=2,
        ci=None if low is None else Interval(0.9, low, high, "influence"),
        test=Test(0.5, "permutation", 99, {"mean": mean, "sd": sd}, design=design),
        warnings=notes,
    )


NEAR_ZERO = Note("W04", "near zero")


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (measured(0.1, 0.05, 0.15), "pass"),
        (measured(0.1, 0.05, 0.25), "fail"),
        (measured(0.3, 0.25, 0.35), "fail"),
        (measured(0.1, None, None), "inconclusive"),
        (measured(0.0, -0.01, 0.01, NEAR_ZERO), "pass"),
        (measured(0.0, -0.01, 0.01, NEAR_ZERO, sd=0.2), "inconclusive"),  # too few rows to tell
        (measured(0.1, 0.05, 0.15, mean=-0.1), "pass"),
        (measured(0.1, 0.05, 0.15, mean=-0.1, design="paired"), "fail"),  # pairs pull it below 0
    ],
)
def test_equivalence_goes_by_the_upper_bound(result, status):
    assert equivalence(result, 0.2, 0.05)["status"] == status


@pytest.mark.parametrize(("delta", "status"), [(0.5, "pass"), (0.001, "fail")])
def test_equivalence_decides_the_exit_code(here, delta, status):
    code, printed, _ = here(f"test p.npy q.npy --equivalence {delta} -q")
    assert (code, status.upper() in printed) == (CODES[status], True)


def test_equivalence_takes_the_place_of_the_test(here):
    """A difference that is there, and small enough."""
    printed = here("test p.npy q.npy --equivalence 0.5 --alpha 0.05 -f json -q")[1]
    assert [rule["name"] for rule in json.loads(printed)["verdict"]["rules"]] == [
        "energy equivalence"
    ]


def test_equivalence_has_the_interval_that_decides(here):
    printed = here("test p.npy q.npy --equivalence 0.5 --alpha 0.01 -f json -q")[1]
    assert json.loads(printed)["results"][0]["ci"]["level"] == 0.98


def test_equivalence_is_inconclusive_without_an_interval(here):
    assert here("test constant.npy tiny-p.npy --equivalence 1")[0] in (2, 3)


@pytest.mark.parametrize("delta", ["0", "-1"])
def test_equivalence_needs_a_difference_that_matters(here, delta):
    code, _, errors = here(f"test p.npy q.npy --equivalence {delta}")
    assert (code, "expected a number above 0" in errors) == (2, True)


def test_a_bound_beyond_the_interval_says_why(here):
    printed = here("test p.npy q.npy --equivalence 50 -q")[1]
    assert "(as wide as at 50) < 50" in printed


def test_one_file_of_keys_is_not_taken_for_a_column(here, folder):
    code, _, errors = here("test pair-p.npy pair-q.npy --paired pair-p.npy")
    assert (code, "is one file; give one for P and one for Q" in errors) == (2, True)


def test_splits_that_are_all_alike_detect_nothing(here, folder):
    code, printed, _ = here("test pair-p.npy pair-p.npy --paired @row -f json -q")
    found = json.loads(printed)["results"][0]["test"]
    assert (code, found["power"], "detectable" in found["null"]) == (0, 0.05, False)
