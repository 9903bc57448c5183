"""`divmatch probs` and `divmatch best-of-n`: files in blocks, masks, weights, bad rows, gates."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from divmatch.estimators import row_means
from divmatch.estimators.rows import row_kind, row_values
from divmatch.kernels.execution import executing
from divmatch.kernels.rows import Rows
from divmatch.matrices import open_matrix
from tests.reference import rows as reference
from tests.tolerances import ROUNDING, SAME

KINDS = "kl,js,tv,akl,renyi:2"


@pytest.fixture(scope="module", autouse=True)
def matrices(data):
    """Logits and probabilities of 300 rows, 12 classes, as arrays and tables."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=(300, 12))
    both = {"t": z, "s": z + rng.normal(0.0, 0.5, size=z.shape)}
    for name, rows in both.items():
        masses = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
        np.save(data / f"z{name}.npy", rows)
        np.save(data / f"p{name}.npy", masses)
        np.save(data / f"f{name}.npy", masses.astype(np.float32))
        np.save(data / f"h{name}.npy", masses.astype(np.float16))
        np.save(data / f"cube-{name}.npy", masses.reshape(20, 15, 12))
        np.save(data / f"fortran-{name}.npy", np.asfortranarray(masses))
        flat = pa.array(masses.reshape(-1))
        lists = pa.FixedSizeListArray.from_arrays(flat, 12)
        mask = pa.array(np.arange(300) % 3 > 0)
        table = pa.table({"masses": lists, "keep": mask, "mass": np.arange(1.0, 301.0)})
        parquet.write_table(table, data / f"lists-{name}.parquet", row_group_size=70)
        columns = {f"c{k}": masses[:, k] for k in range(12)} | {"keep": mask}
        parquet.write_table(pa.table(columns), data / f"wide-{name}.parquet", row_group_size=90)
    np.save(data / "keep.npy", np.arange(300) % 3 > 0)
    np.save(data / "weight.npy", np.arange(1.0, 301.0))
    np.save(data / "eps.npy", rng.uniform(0.001, 0.5, size=300))


def truth(data, name="p", kinds=KINDS):
    p, q = np.load(data / f"{name}t.npy"), np.load(data / f"{name}s.npy")
    return row_values(p, q, [row_kind(kind) for kind in kinds.split(",")])[0]


def results(printed):
    return json.loads(printed)["results"]


def test_mean_and_standard_error_of_every_kind(here, data):
    code, printed, errors = here(f"probs pt.npy ps.npy --kind {KINDS} -f json")
    terms, found = truth(data), results(printed)
    assert (code, errors) == (0, "")
    for k, one in enumerate(found):
        assert abs(one["value"] - terms[:, k].mean()) < ROUNDING(300)
        assert abs(one["se"] - terms[:, k].std(ddof=1) / 300**0.5) < ROUNDING(300)
        assert one["ci"]["method"] == "influence"


@pytest.mark.parametrize(
    "pair",
    [
        "cube-t.npy cube-s.npy",
        "fortran-t.npy fortran-s.npy",
        "lists-t.parquet lists-s.parquet",
        "lists-t.parquet::masses ps.npy",
        "pt.npy wide-s.parquet --columns c*",
    ],
)
def test_every_kind_of_file_gives_the_same_number(here, pair):
    first = here("probs pt.npy ps.npy --kind js -f value")[1]
    assert here(f"probs {pair} --kind js -f value")[1] == first


def test_blocks_of_any_size_give_the_same_rows(here, data, monkeypatch):
    here(f"probs pt.npy ps.npy --kind {KINDS} -o whole.parquet")
    monkeypatch.setattr(row_means, "BLOCK_NUMBERS", 12 * 7)
    for pair in ("pt.npy ps.npy", "lists-t.parquet lists-s.parquet"):
        assert here(f"probs {pair} --kind {KINDS} -o parts.parquet")[0] == 0
        assert parquet.read_table(data / "parts.parquet") == parquet.read_table(
            data / "whole.parquet"
        )


def test_blocks_of_any_size_give_the_same_mean(here, monkeypatch):
    whole = results(here(f"probs pt.npy ps.npy --kind {KINDS},sinkd --batch 7 -f json")[1])
    monkeypatch.setattr(row_means, "BLOCK_NUMBERS", 12 * 9)
    parts = results(here(f"probs pt.npy ps.npy --kind {KINDS},sinkd --batch 7 -f json")[1])
    for left, right in zip(whole, parts, strict=True):
        assert abs(left["value"] - right["value"]) < ROUNDING(300) * 10
        assert abs(left["se"] - right["se"]) < ROUNDING(300) * 10


@pytest.mark.parametrize("work", [0.0, 1e12])
def test_threads_change_no_digit(data, monkeypatch, work):
    monkeypatch.setattr(row_means, "BLOCK_NUMBERS", 12 * 7)
    monkeypatch.setattr(row_means, "work_of", lambda *_: max(work, 4e7 - 1))
    p, q = (open_matrix(str(data / f"p{name}.npy")) for name in "ts")
    job = row_means.Job([row_kind(kind) for kind in KINDS.split(",")], np.ones(5))
    found = []
    for threads in (1, 2):
        with executing(threads=threads, device="cpu"):
            means = row_means.row_means(p, q, job).means
            found.append([(mean.mean, mean.se) for mean in means])
    assert SAME(*found)


def test_rows_file_holds_every_row(here, data):
    code, printed, _ = here(f"probs pt.npy ps.npy --kind {KINDS} -o rows.parquet -f value")
    table = parquet.read_table(data / "rows.parquet")
    assert (code, len(printed.split())) == (0, 5)
    assert table.column_names == ["row", *KINDS.split(",")]
    assert SAME(table.column("akl").to_numpy(), np.ascontiguousarray(truth(data)[:, 3]))


@pytest.mark.parametrize(
    "pair",
    [
        "pt.npy ps.npy --mask keep.npy",
        "lists-t.parquet lists-s.parquet --mask keep",
        "wide-t.parquet wide-s.parquet --mask keep",
        "pt.npy wide-s.parquet --mask keep",
    ],
)
def test_masked_rows_are_left_out(here, data, pair):
    code, printed, _ = here(f"probs {pair} --kind js -o rows.parquet -f json")
    kept = np.arange(300) % 3 > 0
    (one,) = results(printed)
    assert (code, one["n"]) == (0, [200, 200])
    assert abs(one["value"] - truth(data, kinds="js")[kept].mean()) < ROUNDING(300)
    rows = parquet.read_table(data / "rows.parquet").column("row").to_numpy()
    assert SAME(rows, np.flatnonzero(kept))


def test_masked_rows_may_be_broken(here, data):
    broken = np.load(data / "pt.npy")
    broken[::3] = np.nan
    np.save(data / "holes.npy", broken)
    assert here("probs holes.npy ps.npy --mask keep.npy --kind kl,sinkd")[0] == 0


@pytest.mark.parametrize(
    "pair", ["pt.npy ps.npy --weights weight.npy", "lists-t.parquet ps.npy --weights mass"]
)
def test_weights_weigh_rows(here, data, pair):
    (one,) = results(here(f"probs {pair} --kind js -f json")[1])
    a, terms = np.arange(1.0, 301.0), truth(data, kinds="js")[:, 0]
    a /= a.sum()
    se = np.sqrt(np.sum((a * (terms - a @ terms)) ** 2) / (1 - a @ a))
    assert abs(one["value"] - a @ terms) < ROUNDING(300)
    assert abs(one["se"] - se) < ROUNDING(300)


def test_logits_at_a_temperature(here, data):
    line = "probs zt.npy zs.npy --from logits --temperature 2 --times-t2 --kind kl -f value"
    z, w = np.load(data / "zt.npy").tolist(), np.load(data / "zs.npy").tolist()
    loops = [
        4 * reference.kl(reference.softmax(a, 2.0), reference.softmax(b, 2.0))
        for a, b in zip(z, w, strict=True)
    ]
    assert abs(float(here(line)[1]) - np.mean(loops)) < ROUNDING(300) * 10


@pytest.mark.parametrize("name", ["f", "h"])
def test_short_floats_are_taken_as_they_are(here, data, name):
    p, q = (np.load(data / f"{name}{side}.npy").astype(np.float64) for side in "ts")
    rows = [row_kind("js")]
    means = row_values(p, q, rows, Rows(tolerance=1.0))[0].mean()
    found = float(here(f"probs {name}t.npy {name}s.npy --kind js -f value")[1])
    assert abs(found - means) < ROUNDING(300)


def test_smoothing_is_asked_for(here, data):
    counts = np.array([[3, 1, 0], [2, 2, 2]])
    np.save(data / "cp.npy", counts)
    np.save(data / "cq.npy", counts[:, ::-1].copy())
    code, printed, errors = here("probs cp.npy cq.npy --from counts -f value")
    assert (code, printed) == (0, "inf\n")
    assert "warning[W02]" in errors
    assert "1 of 2 rows are infinite (first: row 0)" in errors
    p, q = (3.5, 1.5, 0.5), (0.5, 1.5, 3.5)
    smooth = reference.kl([a / 5.5 for a in p], [b / 5.5 for b in q]) / 2
    found = float(here("probs cp.npy cq.npy --from counts --smooth 0.5 -f value -q")[1])
    assert abs(found - smooth) < ROUNDING(3)


def test_infinite_mean_is_null_in_json(here):
    (one,) = results(here("probs cp.npy cq.npy --from counts -f json -q")[1])
    assert (one["value"], one["ci"], one["status"]) == (None, None, "warn")


@pytest.mark.parametrize(
    ("value", "source", "says"),
    [
        (-0.1, "probabilities", "row 17 has -0.1 at class 2"),
        (np.nan, "probabilities", "row 17 has NaN at class 2"),
        (0.9, "probabilities", "row 17 sums to"),
        (np.nan, "logits", "row 17 has NaN at class 2"),
        (np.inf, "logits", "row 17 has the logit inf at class 2"),
        (-1.0, "counts", "row 17 has -1 at class 2"),
        (np.inf, "counts", "row 17 has infinite counts"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_bad_row_is_named_in_one_line(here, data, value, source, says, first):
    bad = np.load(data / "pt.npy")
    bad[17, 2] = value
    np.save(data / "bad.npy", bad)
    pair = "bad.npy ps.npy" if first else "ps.npy bad.npy"
    code, printed, errors = here(f"probs {pair} --from {source} -o rows.parquet")
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert f"bad.npy: {says}" in errors


def test_a_bad_row_leaves_no_rows_file(here, data):
    (data / "new.parquet").unlink(missing_ok=True)
    assert here("probs bad.npy ps.npy --from counts -o new.parquet")[0] == 2
    assert not (data / "new.parquet").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("pt.npy p.npy", "both need the same"),
        ("pt.npy ps.npy --kind kl,kl", "named twice"),
        ("pt.npy ps.npy --kind sinkd,sinkd:1", "once"),
        ("pt.npy ps.npy --kind jss", "did you mean 'js'"),
        ("pt.npy ps.npy --temperature 2", "only with --from logits"),
        ("pt.npy ps.npy --smooth 1", "only with --from counts"),
        ("pt.npy ps.npy --batch 8", "only with --kind sinkd"),
        ("pt.npy ps.npy --kind tv --unit bits", "not measured in nats"),
        ("pt.npy ps.npy --mask weight", "no .npy or .npz file"),
        ("pt.npy ps.npy --mask eps.npz", "no such file"),
        ("pt.npy ps.npy --mask p.npy", "give one a row"),
        ("pt.npy ps.npy --columns c0", "plain array"),
        ("zt.npy zs.npy", "--from logits"),
    ],
)
def test_what_has_no_answer_is_refused_in_one_line(here, line, says):
    code, printed, errors = here(f"probs {line}")
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert says in errors


def test_limits_look_at_the_bounds(here):
    assert here("probs pt.npy ps.npy --kind js,tv --max 0.9")[0] == 0
    assert here("probs pt.npy ps.npy --kind js,tv --max 0.001")[0] == 1
    assert here("probs pt.npy ps.npy --kind js --min 0.5")[0] == 1


def test_bits_are_nats_by_ln_2(here, data):
    nats = float(here("probs pt.npy ps.npy -f value")[1])
    (one,) = results(here("probs pt.npy ps.npy --unit bits -f json")[1])
    assert one["unit"] == "bits"
    assert abs(one["value"] * np.log(2) - nats) < ROUNDING(2)


def test_fingerprint_is_that_of_the_content(here, data):
    np.save(data / "copy.npy", np.load(data / "pt.npy"))
    lines = ("probs pt.npy ps.npy -f json", "probs copy.npy ps.npy -f json")
    marks = [[i["fingerprint"] for i in json.loads(here(x)[1])["inputs"]] for x in lines]
    assert marks[0] == marks[1]
    assert marks[0][0] != marks[0][1]


def test_json_follows_the_schema(here):
    import jsonschema

    schema = json.loads(here("schema result")[1])
    for line in ("probs pt.npy ps.npy --kind kl,sinkd", "best-of-n eps.npy -n 4,9"):
        jsonschema.validate(json.loads(here(f"{line} -f json")[1]), schema)


def test_sinkd_of_one_batch_is_its_total(here, data):
    p, q = np.load(data / "pt.npy")[:7], np.load(data / "ps.npy")[:7]
    np.save(data / "p7.npy", p)
    np.save(data / "q7.npy", q)
    total = reference.sinkd(p.tolist(), q.tolist())
    found = float(here("probs p7.npy q7.npy --kind sinkd -f value -q")[1])
    single = float(here("probs p7.npy q7.npy --kind sinkd --per-sample -f value -q")[1])
    assert abs(found - total) < ROUNDING(7 * 7 * 12) * total
    assert abs(single - total / 7) < ROUNDING(7 * 7 * 12) * total


def test_standard_input(run, data):
    whole = run("probs", "pt.npy", "ps.npy", "-f", "value").stdout
    assert run(shell="divmatch probs - ps.npy -f value < pt.npy").stdout == whole


def test_best_of_n_from_chosen_probabilities(here, data):
    eps = np.load(data / "eps.npy")
    np.save(data / "log-eps.npy", np.log(eps))
    n = 16
    left, hit = (1 - eps) ** n, 1 - (1 - eps) ** n
    inner = np.log(n) + (n - 1) * np.log(1 - eps) - (n - 1) / n
    terms = left * inner + hit * np.log(hit / eps)
    one, other = (
        results(here(f"best-of-n {line} -n 16 -f json")[1])[0]
        for line in ("eps.npy", "log-eps.npy --from log-epsilon")
    )
    assert abs(one["value"] - terms.mean()) < ROUNDING(300)
    assert abs(one["se"] - terms.std(ddof=1) / 300**0.5) < ROUNDING(300)
    assert abs(one["value"] - other["value"]) < ROUNDING(300)
    assert one["value"] <= one["params"]["bound"]


def test_best_of_n_from_all_probabilities(here, data):
    truth = np.array([reference.best_of_n(row, 5) for row in np.load(data / "pt.npy").tolist()])
    (one,) = results(here("best-of-n pt.npy -n 5 --from probabilities -f json")[1])
    assert abs(one["value"] - truth[:, 0].mean()) < ROUNDING(300)
    assert abs(one["params"]["win_rate"] - truth[:, 1].mean()) < ROUNDING(300)


def test_rewards_order_the_outputs(here, data):
    np.save(data / "rewards.npy", np.arange(12.0)[::-1].copy())
    np.save(data / "flipped.npy", np.load(data / "pt.npy")[:, ::-1].copy())
    line = "best-of-n {} -n 5 --from probabilities -f value"
    one = float(here(line.format("pt.npy --rewards rewards.npy"))[1])
    assert abs(one - float(here(line.format("flipped.npy"))[1])) < ROUNDING(300)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("eps.npy -n 0", "from 1"),
        ("eps.npy -n 4,4", "named twice"),
        ("weight.npy -n 4", "prompt 1 has 2, expected a probability"),
        ("eps.npy -n 4 --from log-epsilon", "at most 0"),
        ("pt.npy -n 4", "expected one number a prompt"),
        ("zt.npy -n 4 --from probabilities", "row 0"),
        ("pt.npy -n 4 --from probabilities --rewards eps.npy", "one reward an output"),
        ("eps.npy -n 4 --rewards eps.npy", "only with --from probabilities"),
    ],
)
def test_best_of_n_refuses_in_one_line(here, line, says):
    code, printed, errors = here(f"best-of-n {line}")
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert says in errors
