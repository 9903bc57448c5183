"""`divmatch match map`: a map that is kept with --fit, and put to other files with --apply."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import divmatch
from divmatch.scaling import Scaling
from divmatch.transport.map_file import MapFile, load_map
from tests.tolerances import SAME

METHODS = ("gaussian", "quantile", "ot", "sinkhorn", "monge")
FAST = "--metric none -q"


def table(name, rows, shift, seed):
    rng = np.random.default_rng(seed)
    return {
        "id": [f"{name}{k}" for k in range(rows)],
        "amount": 1000 * (rng.normal(size=rows) + shift),
        "count": rng.integers(0, 9, rows),
        "score": rng.normal(size=rows) - shift,
    }


@pytest.fixture(scope="module")
def files(data):
    """Old and new rows in units far apart, more of the old kind with other columns, and lists."""
    for name, rows, shift, seed in (
        ("old", 90, 0.0, 1),
        ("new", 80, 2.0, 2),
        ("more", 5000, 0.1, 3),
    ):
        parquet.write_table(pa.table(table(name, rows, shift, seed)), data / f"{name}.parquet")
    more = parquet.read_table(data / "more.parquet")
    turned = more.select(["score", "id", "amount", "count"])
    parquet.write_table(turned, data / "turned.parquet", row_group_size=700)
    folder = data / "more-parts"
    folder.mkdir()
    parquet.write_table(more.slice(0, 1300), folder / "0.parquet")
    narrow = more.slice(1300).cast(more.schema.set(2, pa.field("count", pa.int32())))
    parquet.write_table(narrow, folder / "1.parquet")
    csv.write_csv(more, data / "more.csv")
    points = np.random.default_rng(8).normal(size=(50, 2)) * [1000, 1]
    found = divmatch.match.map(points, 2 * points, metric="none")
    low, high = points.min(axis=0), points.max(axis=0)
    scaling = Scaling("ref-sd", np.array([1.0, 1.0]))
    MapFile(found.fit.mapping, ("amount", "score"), scaling, low, high).save(str(data / "kept.npz"))
    for name, seed in (("list-p", 4), ("list-q", 5)):
        emb = np.random.default_rng(seed).normal(size=(60, 3)) * (seed - 3)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(emb.ravel()), 3)
        parquet.write_table(pa.table({"id": range(60), "emb": lists}), data / f"{name}.parquet")
    return data


@pytest.fixture
def fit(here, files):
    def start(method="gaussian", more=""):
        line = f"match map old.parquet new.parquet --columns amount,score --method {method}"
        code, _, errors = here(f"{line} --fit map.npz {FAST} {more}")
        assert code == 0, errors

    return start


def read(path):
    return parquet.read_table(path)


# --------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("method", METHODS)
def test_applied_to_p_it_writes_what_the_fit_has_written(here, files, fit, method):
    fit(method, "-o fitted.npy -o fitted.parquet")
    assert here("match map --apply map.npz old.parquet -o map-a.npy -o map-a.parquet -q")[0] == 0
    assert (files / "map-a.npy").read_bytes() == (files / "fitted.npy").read_bytes()
    assert read(files / "map-a.parquet").equals(read(files / "fitted.parquet"))


@pytest.mark.parametrize("scale", ["none", "ref-sd", "ref-iqr", "ref-whiten"])
def test_scale_is_stored_and_undone(here, files, fit, scale):
    fit("gaussian", f"--scale {scale} -o fitted.npy")
    assert here("match map --apply map.npz old.parquet -o map-a.npy -q")[0] == 0
    moved, new = np.load(files / "map-a.npy"), read(files / "new.parquet")
    assert moved == pytest.approx(np.load(files / "fitted.npy"), rel=1e-12)
    for c, name in enumerate(("amount", "score")):
        assert moved[:, c].mean() == pytest.approx(new[name].to_numpy().mean(), rel=1e-9)


def test_columns_go_by_name_and_others_are_carried(here, files, fit):
    fit()
    assert here("match map --apply map.npz more.parquet -o map-a.parquet -q")[0] == 0
    assert here("match map --apply map.npz turned.parquet -o map-b.parquet -q")[0] == 0
    one, other, given = (read(files / f"{name}.parquet") for name in ("map-a", "map-b", "more"))
    assert other.column_names == ["score", "id", "amount", "count"]
    assert one.equals(other.select(one.column_names))
    assert one.select(["id", "count"]).equals(given.select(["id", "count"]))


@pytest.mark.parametrize("source", ["more-parts", "more.csv"])
def test_parts_and_text_pass_as_one_parquet_does(here, files, fit, source):
    fit("sinkhorn")
    assert here("match map --apply map.npz more.parquet -o map-a.npy -q")[0] == 0
    assert here(f"match map --apply map.npz {source} -o map-b.npy -q")[0] == 0
    assert (files / "map-a.npy").read_bytes() == (files / "map-b.npy").read_bytes()


def test_digits_do_not_depend_on_the_threads(here, files, fit):
    fit("sinkhorn")
    for threads in (1, 2):
        line = f"match map --apply map.npz more.parquet -o t{threads}.npy -j {threads} -q"
        assert here(line)[0] == 0
    assert (files / "t1.npy").read_bytes() == (files / "t2.npy").read_bytes()


def test_array_map_is_applied_to_arrays_and_tables_by_position(here, files):
    assert here(f"match map p.npy q.npy --fit map.npz -o fitted.npy {FAST}")[0] == 0
    assert here("match map --apply map.npz p.npy -o map-a.npy -o map-a.parquet -q")[0] == 0
    assert here("match map --apply map.npz p.parquet --columns a,b,c,d -o map-b.parquet -q")[0] == 0
    assert (files / "map-a.npy").read_bytes() == (files / "fitted.npy").read_bytes()
    assert read(files / "map-a.parquet").column_names == ["0", "1", "2", "3"]
    moved = read(files / "map-b.parquet")
    assert moved.column_names == ["a", "b", "c", "d", "mass"]
    assert SAME(moved["c"].to_numpy(), np.ascontiguousarray(np.load(files / "map-a.npy")[:, 2]))


def test_lists_stay_lists(here, files):
    line = f"match map list-p.parquet list-q.parquet --columns emb --fit map.npz -o map-a.parquet {FAST}"
    assert here(line)[0] == 0
    assert here("match map --apply map.npz list-p.parquet -o map-b.parquet -q")[0] == 0
    moved = read(files / "map-a.parquet")
    assert moved.column_names == ["id", "emb"]
    assert moved.equals(read(files / "map-b.parquet"))
    assert moved["emb"].type == pa.list_(pa.float64(), 3)


@pytest.mark.parametrize(
    ("emb", "words"),
    [
        (
            [[1.0, 2.0]] * 9,
            "column 'emb' holds list<element: double> of 2 a row, expected 'emb[0]'",
        ),
        ([1.0] * 9, "column 'emb' holds double of 1 a row, expected 'emb[0]', 'emb[1]', 'emb[2]'"),
    ],
)
def test_list_of_another_length_is_refused(here, files, emb, words):
    line = f"match map list-p.parquet list-q.parquet --columns emb --fit map.npz {FAST}"
    assert here(line)[0] == 0
    parquet.write_table(pa.table({"emb": emb}), files / "other.parquet")
    refused(here, "match map --apply map.npz other.parquet", words)


def test_map_file_opens_without_pickle(files, fit):
    fit("ot")
    with np.load(files / "map.npz", allow_pickle=False) as arrays:
        assert str(arrays["format"]) == "divmatch map 1"
        assert arrays["columns"].tolist() == ["amount", "score"]
    assert load_map(files / "map.npz").made(np.zeros((1, 2))).shape == (1, 2)


# -------------------------------------------------------------------------------------- report


def test_report_says_how_far_and_how_many_outside(here, files, fit):
    fit("gaussian", "--scale none")
    code, printed, _ = here("match map --apply map.npz more.parquet -f json -q")
    document = json.loads(printed)
    assert code == 0
    points = np.c_[tuple(read(files / "more.parquet")[n].to_numpy() for n in ("amount", "score"))]
    made = load_map(files / "map.npz")
    costs = np.sum((made.made(points) - points) ** 2, axis=1)
    assert document["results"][0]["value"] == pytest.approx(costs.mean(), rel=1e-12)
    old = np.c_[tuple(read(files / "old.parquet")[n].to_numpy() for n in ("amount", "score"))]
    outside = ((points < old.min(0)) | (points > old.max(0))).any(axis=1).sum()
    assert document["settings"]["fit"] == {"outside": outside, "dropped": 0}


def test_fit_tells_its_monge_gap(here, files):
    line = "match map old.parquet new.parquet --columns amount,score"
    code, printed, _ = here(f"{line} {FAST}")
    assert code == 0
    assert "Monge gap 0: no map of these rows to the same places costs less" in printed
    assert "a cheaper way is there" in here(f"{line} --method monge --penalty 0 {FAST}")[1]


def test_limits_are_those_of_the_mean_cost(here, files, fit):
    fit()
    assert here("match map --apply map.npz old.parquet --max 1e-6 -q")[0] == 1
    assert here("match map --apply map.npz old.parquet --max 1e6 -q")[0] == 0


def test_gaps_are_refused_or_dropped(here, files, fit):
    fit()
    given = table("gaps", 50, 0.0, 6)
    given["score"] = [None if k in (3, 17) else v for k, v in enumerate(given["score"])]
    parquet.write_table(pa.table(given), files / "gaps.parquet")
    code, _, errors = here("match map --apply map.npz gaps.parquet -o map-a.npy")
    assert (code, errors.count("\n")) == (2, 1)
    assert "gaps.parquet: column 'score' has a missing value at row 3 (from 0)" in errors
    line = "match map --apply map.npz gaps.parquet --na drop -o map-a.npy -o map-a.parquet -q"
    code, printed, _ = here(line)
    assert code == 0
    assert "2 rows with missing values left out" in printed
    assert np.load(files / "map-a.npy").shape == (48, 2)
    assert read(files / "map-a.parquet")["id"].to_pylist()[2:4] == ["gaps2", "gaps4"]


# ------------------------------------------------------------------------------------- hostile


def refused(here, line, *words):
    code, printed, errors = here(line)
    assert (code, printed, errors.count("\n")) == (2, "", 1), errors
    assert all(word in errors for word in words), errors


def test_row_without_an_image_is_counted_as_in_the_file(here, files):
    points = np.ones((5, 2))
    points[1], points[3] = np.nan, 1.7e308
    np.save(files / "huge.npy", points)
    refused(here, "match map --apply kept.npz huge.npy --na drop", "numbers at row 3 (from 0)")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("match map --apply kept.npz p.parquet", ["column 'amount' not found"]),
        ("match map --apply kept.npz narrow.npy", ["has 3 columns, expected 2"]),
        ("match map --apply kept.npz old.parquet new.parquet", ["leave new.parquet out"]),
        ("match map --apply kept.npz old.parquet --method ot", ["--method", "no effect"]),
        ("match map --apply kept.npz old.parquet --metric mmd", ["--metric", "no effect"]),
        ("match map --apply kept.npz old.parquet --na mean", ["--na mean", "drop"]),
        ("match map --apply kept.npz old.parquet --columns amount", ["names its columns"]),
        ("match map --apply kept.npz old.parquet -o a.npz", [".npy or .parquet"]),
        ("match map --apply kept.npz old.parquet -o kept.npz", ["kept.npz"]),
        ("match map --apply kept.npz old.parquet -o old.parquet", ["is the input"]),
        ("match map --apply gone.npz old.parquet", ["gone.npz: no such file"]),
        ("match map --apply p.npy old.parquet", ["p.npy: is no .npz file"]),
        ("match map --apply both.npz old.parquet", ["is no map of this version"]),
        ("match map --apply text.npz old.parquet", ["text.npz: is no .npz file"]),
        ("match map --apply cut.npz old.parquet", ["cut.npz: cannot be read"]),
        ("match map --apply pickled.npz old.parquet", ["never unpickled"]),
        ("match map --apply kept.npz empty.parquet", ["is empty (0 rows)"]),
        ("match map --apply kept.npz words.parquet", ["column 'score' holds string"]),
        ("match map --apply kept.npz infinite.parquet", ["'score' is infinite at row 1"]),
        ("match map old.parquet", ["missing argument 'Q'"]),
        ("match map old.parquet new.parquet --fit a.npz -o a.npz", ["a.npz", "named twice"]),
        ("match map old.parquet new.parquet --fit map.npy", ["--fit map.npy", ".npz"]),
        ("match map old.parquet new.parquet --columns id,score", ["words", "cannot be moved"]),
    ],
)
def test_what_cannot_be_done_is_one_line(here, files, line, words):
    (files / "text.npz").write_text("no archive\n")
    (files / "cut.npz").write_bytes((files / "kept.npz").read_bytes()[:700])
    np.savez(files / "pickled.npz", format=np.array([{}], dtype=object))
    parquet.write_table(read(files / "old.parquet").slice(0, 0), files / "empty.parquet")
    for name, score in (("words", ["a", "b"]), ("infinite", [1.0, np.inf])):
        made = pa.table({"amount": [1.0, 2.0], "score": score})
        parquet.write_table(made, files / f"{name}.parquet")
    refused(here, line, *words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": np.array("fold")}, "kind 'fold' is unknown"),
        ({"map_mean": np.zeros(3)}, "'map_mean' has the shape (3,)"),
        ({"map_factor": np.full((2, 2), np.nan)}, "no finite number"),
        ({"map_factor": np.zeros((2, 2), dtype=np.int64)}, "float64"),
        ({"unit": np.array([1.0, 0.0])}, "'unit' holds numbers that are not above 0"),
        ({"columns": np.array(["amount"])}, "differ in number"),
        ({"cost": np.array("fare")}, "cost 'fare' is unknown"),
        ({"map_target": None}, "'map_target' is missing"),
    ],
)
def test_damaged_map_is_one_line(here, files, change, words):
    with np.load(files / "kept.npz") as stored:
        arrays = dict(stored) | change
    np.savez(files / "bad.npz", **{k: v for k, v in arrays.items() if v is not None})
    refused(here, "match map --apply bad.npz old.parquet", "bad.npz: is a damaged map", words)


def test_nothing_is_left_behind_where_a_late_row_is_wrong(here, files):
    late = read(files / "more.parquet").to_pydict()
    late["score"][4990] = np.nan
    parquet.write_table(pa.table(late), files / "late.parquet")
    before = set(files.iterdir())
    assert here("match map --apply kept.npz late.parquet -o late-moved.parquet -q")[0] == 2
    assert set(files.iterdir()) == before


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(run, files):
    """Ten times the rows pass in the same memory."""
    peaks = []
    for blocks in (4, 40):
        with parquet.ParquetWriter(
            files / "large.parquet",
            pa.schema([("amount", pa.float64()), ("score", pa.float64()), ("name", pa.string())]),
        ) as writer:
            for seed in range(blocks):
                rng = np.random.default_rng(seed)
                rows = {c: rng.normal(size=100_000) for c in ("amount", "score")}
                rows["name"] = [f"row {k} of block {seed}" for k in range(100_000)]
                writer.write_table(pa.table(rows))
        done = run(
            "match",
            "map",
            "--apply",
            "kept.npz",
            "large.parquet",
            "-o",
            "out.parquet",
            "-f",
            "json",
        )
        assert done.returncode == 0, done.stderr
        peaks.append(json.loads(done.stdout)["run"]["peak_rss_mb"])
    assert peaks[1] < peaks[0] + 40


def test_rows_whose_cost_is_no_number_are_refused(here, data):
    points = np.random.default_rng(3).normal(size=(40, 2))
    np.save(data / "cloud.npy", points)
    np.save(data / "beyond.npy", points * 1e300)
    here(f"match map cloud.npy cloud.npy --fit affine.npz {FAST}")
    code, _, errors = here("match map --apply affine.npz beyond.npy -o none.npy")
    assert (code, (data / "none.npy").exists()) == (2, False)
    assert "beyond.npy: numbers at row 0 (from 0) are too large for this map" in errors


def test_nothing_is_held_out_of_two_rows(here, data):
    np.save(data / "pair.npy", np.array([[0.0, 1.0], [2.0, 0.0]]))
    np.save(data / "many.npy", np.random.default_rng(4).normal(size=(20, 2)))
    _, printed, _ = here("match map pair.npy many.npy -q")
    assert "held out" not in printed
