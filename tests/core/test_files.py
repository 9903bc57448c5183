"""Reading: every kind of file, and what damaged or hostile ones get."""

import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyarrow import parquet

from divmatch.encoding import encode
from divmatch.errors import DivmatchError, FileError, RoomError, SampleError
from divmatch.files import check_readable, describe, files_from, read_table
from divmatch.tables import Reading

ROWS = np.arange(12.0).reshape(4, 3)
KINDS = ("npy", "npz", "parquet", "csv", "tsv", "ndjson")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(kind: str, stem: str = "a", rows: np.ndarray = ROWS) -> str:
    """The rows as a file of this kind."""
    path = f"{stem}.{kind}"
    names = [f"c{k}" for k in range(rows.shape[1])]
    if kind == "npy":
        np.save(path, rows)
    elif kind == "npz":
        np.savez(path, x=rows)
    elif kind == "parquet":
        table = pa.table({name: rows[:, k] for k, name in enumerate(names)})
        with open(path, "wb") as file:  # pyarrow takes a name with ':' for an address
            parquet.write_table(table, file, row_group_size=3)
    elif kind == "ndjson":
        lines = [
            "{" + ",".join(f'"{n}":{v!r}' for n, v in zip(names, r, strict=True)) + "}"
            for r in rows.tolist()
        ]
        Path(path).write_text("\n".join(lines))
    else:
        mark = "\t" if kind == "tsv" else ","
        lines = [mark.join(names), *(mark.join(map(repr, row)) for row in rows.tolist())]
        Path(path).write_text("\n".join(lines) + "\n")
    return path


def read(path: str, role: str = "p", **options: object):
    return read_table(path, Reading(**options), role=role)


def points(path: str, **options: object) -> np.ndarray:
    (samples,) = encode(read(path, **options), reading=Reading(**({"scale": "none"} | options)))
    return samples.points


def refusal(path: str, **options: object) -> str:
    """The one line that reading ends in."""
    with pytest.raises(DivmatchError) as caught:
        points(path, **options)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in message
    assert len(message) < 500
    return message


def parquet_of(path: str = "t.parquet", **columns: object) -> str:
    parquet.write_table(pa.table(columns), path, row_group_size=2)
    return path


# -- every kind ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_rows(kind):
    np.testing.assert_array_equal(points(write(kind)), ROWS)


@pytest.mark.parametrize("kind", KINDS)
def test_standard_input_is_sniffed(kind):
    path = write(kind)
    code = (
        "from divmatch.files import read_table; from divmatch.tables import Reading;"
        "from divmatch.encoding import encode;"
        f"r = Reading(scale='none', stdin_format={'tsv' if kind == 'tsv' else None!r});"
        "(s,) = encode(read_table('-', r), reading=r);"
        "print(s.points.tolist(), s.origin['kind'])"
    )
    with open(path, "rb") as stream:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=stream, capture_output=True, text=True, check=True
        )
    assert done.stdout.strip() == f"{ROWS.tolist()} stdin"


def test_a_named_pipe_is_read_like_standard_input():
    os.mkfifo("pipe")
    with subprocess.Popen(["sh", "-c", f"cat {write('npy')} > pipe"]):
        np.testing.assert_array_equal(points("pipe"), ROWS)


def test_empty_standard_input_is_refused():
    code = (
        "from divmatch.errors import FileError; from divmatch.files import read_table\n"
        "from divmatch.tables import Reading\n"
        "try: read_table('-', Reading())\n"
        "except FileError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True, check=True)
    assert done.stdout.decode().startswith("-: is empty (0 bytes)")


def test_standard_input_serves_one_input_only():
    with pytest.raises(FileError, match="only once"):
        check_readable(["-", "-::x"])


NUMBERS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    elements=st.floats(allow_nan=False, allow_infinity=False),
)


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet", "csv", "ndjson"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=NUMBERS)
def test_numbers_survive_the_file_bit_for_bit(kind, rows):
    got = points(write(kind, "h", rows))
    assert got.shape == rows.shape
    if kind == "ndjson":  # JSON parsers may read -0.0 as 0
        np.testing.assert_array_equal(got, rows)
    else:
        assert got.tobytes() == rows.tobytes()


# -- .npy ---------------------------------------------------------------------------------------


def test_a_plain_npy_stays_mapped_to_its_file():
    (samples,) = encode(read(write("npy")), reading=Reading())
    base = samples.points
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "i1", "u8", ">i4", "?", "g"])
def test_every_real_type_is_a_number(dtype):
    np.save("a.npy", np.array([[1, 0], [0, 1]], dtype=dtype))
    got = points("a.npy")
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, np.eye(2))


def test_fortran_order_becomes_c_order():
    np.save("a.npy", np.asfortranarray(ROWS))
    got = points("a.npy")
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, ROWS)


def test_one_dimension_is_one_column():
    np.save("a.npy", np.arange(3))
    assert points("a.npy").shape == (3, 1)


def test_large_integers_are_rounded_to_float64():
    np.save("a.npy", np.array([2**53 + 1, 2**62]))
    np.testing.assert_array_equal(points("a.npy")[:, 0], [2.0**53, 2.0**62])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 2, 2)), "has shape (2, 2, 2), expected rows and columns"),
        (np.float64(3), "has shape (), expected rows and columns"),
        (np.zeros((0, 3)), "is empty"),
        (np.zeros((3, 0)), "has no column; at least one is needed"),
        (np.zeros(3, complex), "holds complex128 values, not numbers"),
        (np.zeros(3, "M8[s]"), "holds datetime64[s] values, not numbers"),
        (np.zeros(3, "V4"), "values, not numbers"),
        (np.array([1.0, np.inf, -np.inf]), "column '0' has 2 infinite values, first at row 1"),
        (
            np.array([1.0, np.nan]),
            "column '0' has 1 missing value, first at row 1 (from 0); choose --na",
        ),
    ],
)
def test_arrays_that_are_no_samples_are_refused(array, words):
    np.save("a.npy", array)
    message = refusal("a.npy")
    assert message.startswith("a.npy: ")
    assert words in message


def test_fields_of_a_structured_array_are_columns():
    np.save("a.npy", np.array([(1, 2.5, "u"), (3, 4.5, "v")], dtype=">i4,<f4,U3"))
    table = read("a.npy")
    assert table.names == ("f0", "f1", "f2")
    assert table.categories[0].words == ("u", "v")


@pytest.mark.parametrize("dtype", ["U3", "S3"])
def test_text_arrays_are_categories(dtype):
    np.save("a.npy", np.array(["u", "v", "u"], dtype=dtype))
    table = read("a.npy")
    assert table.values("0").tolist() == [0, 1, 0]


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet"])
@pytest.mark.parametrize("tenth", range(10))
def test_a_truncated_file_is_refused(kind, tenth):
    path = Path(write(kind, rows=np.random.default_rng(0).normal(size=(50, 3))))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * tenth // 10])
    assert refusal(str(path)).startswith(f"{path}: ")


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_an_object_array_is_never_unpickled():
    np.save("a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    refusal("a.npy")
    assert not Path("exploded").exists()


def test_a_bare_pickle_is_never_unpickled():
    Path("a.npy").write_bytes(pickle.dumps(Bomb()))
    refusal("a.npy")
    assert not Path("exploded").exists()


def test_a_pickle_in_an_npz_is_never_unpickled():
    np.savez("a.npz", x=np.array([Bomb()], dtype=object))
    refusal("a.npz")
    assert not Path("exploded").exists()


def header(text: str) -> bytes:
    data = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(data)) + data


@pytest.mark.parametrize(
    "shape",
    ["(10**12,)", "(1000000000000, 4)", f"({2**62}, {2**62})", "(-1, 4)", "(2, 'x')", "(" * 60],
)
def test_a_header_that_lies_about_the_shape_is_refused(shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    Path("a.npy").write_bytes(header(text) + bytes(64))
    refusal("a.npy")


def test_a_member_that_claims_more_than_the_archive_holds_is_refused():
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000000, 4), }"
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("x.npy", header(text) + bytes(64))
    refusal("a.npz")


def bomb(rows: int, size: int) -> None:
    """An archive whose member says to have that many rows, and holds that many bytes of zeros."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, 1), }}"
    with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header(text) + bytes(size))


@pytest.fixture
def _little_memory(monkeypatch):
    monkeypatch.setattr("divmatch.arrays.free_memory", lambda: 1 << 20)


@pytest.fixture
def _nothing_inflated(monkeypatch):
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", None)


@pytest.mark.usefixtures("_little_memory", "_nothing_inflated")
def test_an_archive_that_inflates_beyond_the_memory_is_refused_unread():
    bomb(1 << 18, 8 << 18)
    with pytest.raises(RoomError) as caught:
        read("a.npz")
    assert caught.value.exit_code == 4
    assert str(caught.value) == (
        "a.npz: 'x' needs 2 MiB of memory, and 1 MiB are free; save it as .npy, which is read in place"
    )


@pytest.mark.usefixtures("_little_memory")
def test_an_npy_larger_than_the_memory_is_mapped():
    np.save("a.npy", np.zeros((1 << 18, 1)))
    assert read("a.npy").rows == 1 << 18


@pytest.mark.usefixtures("_little_memory")
def test_a_stream_that_is_in_memory_already_is_read(monkeypatch):
    np.save("a.npy", np.zeros((1 << 18, 1)))
    os.mkfifo("pipe")
    with subprocess.Popen(["sh", "-c", "cat a.npy > pipe"]):
        assert read("pipe").rows == 1 << 18


@pytest.mark.usefixtures("_nothing_inflated")
def test_a_member_that_holds_less_than_it_promises_is_refused_unread():
    bomb(10**12, 64)
    assert "promises 8000000000000 bytes, but holds 64" in refusal("a.npz")


def test_a_whole_archive_is_read():
    np.savez_compressed("a.npz", x=ROWS)
    np.testing.assert_array_equal(points("a.npz"), ROWS)


@pytest.mark.parametrize("kind", ["npy", "npz", "pipe"])
def test_bytes_after_the_array_are_refused(kind):
    data = Path(write("npy")).read_bytes() + b"more"
    Path("b.npy").write_bytes(data)
    if kind == "npz":
        with zipfile.ZipFile("b.npz", "w") as archive:
            archive.writestr("x.npy", data)
    if kind == "pipe":
        os.mkfifo("b.pipe")
        with subprocess.Popen(["sh", "-c", "cat b.npy > b.pipe"]):
            message = refusal("b.pipe")
    else:
        message = refusal(f"b.{kind}")
    assert "promises 96 bytes, but holds 100; write it anew" in message


def test_fields_with_foreign_names_are_read():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about version 3.0 of the format
        np.save("a.npy", np.array([(1, 2.0)], dtype=[("größe", "i4"), ("日", "f8")]))
    assert read("a.npy").names == ("größe", "日")


def test_a_header_that_is_no_literal_leaks_nothing():
    text = "{'descr': __import__('os'), 'fortran_order': False, 'shape': (5, 3), }"
    Path("a.npy").write_bytes(header(text) + bytes(120))
    assert refusal("a.npy") == "a.npy: its header cannot be read; it is damaged, write it anew"


def test_an_archive_without_an_array_says_so():
    zipfile.ZipFile("a.npz", "w").close()
    assert refusal("a.npz") == "a.npz: holds no array; write it anew"


def test_text_called_npy_is_refused():
    Path("a.npy").write_text("1,2\n3,4\n")
    assert "is no .npy file, it starts with" in refusal("a.npy")


def test_an_archive_called_npy_is_refused():
    os.rename(write("npz"), "b.npy")
    assert "looks like .npz; rename" in refusal("b.npy")


def test_a_read_only_file_is_read():
    os.chmod(write("npy"), 0o444)
    np.testing.assert_array_equal(points("a.npy"), ROWS)


# -- .npz ---------------------------------------------------------------------------------------


def test_a_key_picks_an_array():
    np.savez("a.npz", x=ROWS, y=ROWS[:2])
    np.testing.assert_array_equal(points("a.npz::y"), ROWS[:2])


def test_several_arrays_need_a_key():
    np.savez("a.npz", x=ROWS, y=ROWS)
    assert "pick one, a.npz::KEY with KEY one of 'x', 'y'" in refusal("a.npz")


def test_a_wrong_key_gets_a_suggestion():
    np.savez("a.npz", real=ROWS, fake=ROWS)
    assert refusal("a.npz::reel") == "a.npz::reel: no array 'reel'; did you mean 'real'?"


def test_a_wrong_key_far_from_all_gets_the_list():
    np.savez("a.npz", x=ROWS)
    assert refusal("a.npz::weights").endswith("it has 'x'")


def test_a_member_that_is_no_array_is_refused():
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    assert "is no array" in refusal("a.npz")


# -- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", ["größe", "with space", "a::b", "a::b::c", "[x]", "*", "-", "!x"])
@pytest.mark.parametrize("kind", ["npy", "parquet", "csv"])
def test_unusual_names_are_read(stem, kind):
    np.testing.assert_array_equal(points(write(kind, stem)), ROWS)


def test_a_key_follows_the_last_mark_of_an_existing_file():
    write("npz", "a::b")
    np.testing.assert_array_equal(points("a::b.npz::x"), ROWS)


def test_a_key_may_hold_the_mark_itself():
    np.savez("a.npz", **{"u::v": ROWS, "w": ROWS})
    np.testing.assert_array_equal(points("a.npz::u::v"), ROWS)


def test_a_missing_file_gets_a_suggestion():
    write("npy", "reference")
    assert refusal("referense.npy") == (
        "referense.npy: no such file; did you mean 'reference.npy'?"
    )


@pytest.mark.parametrize("near", ["one.npy", "sig.py", "missing.py", "missing", "ming.npy"])
def test_only_close_names_of_readable_files_are_suggested(near):
    Path(near).write_text("x")
    assert refusal("missing.npy") == "missing.npy: no such file"


def test_the_same_name_of_another_kind_is_suggested():
    write("csv")
    assert refusal("a.npy") == "a.npy: no such file; did you mean 'a.csv'?"


def test_an_empty_name_is_shown():
    assert refusal("") == "'': no such file"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("missing.npy", "missing.npy: no such file"),
        ("missing/a.npy", "no such file"),
        ("a\0b.npy", "null"),
        ("x" * 5000, "name too long"),
        ("*.parquet", "no such file"),
        ("folder", "is a folder without .parquet files"),
        ("empty.csv", "is empty (0 bytes)"),
        ("a.docx", "unknown kind of file"),
    ],
)
def test_paths_that_cannot_work_are_refused_early(path, words):
    Path("folder").mkdir()
    Path("empty.csv").touch()
    Path("a.docx").write_text("x")
    with pytest.raises(FileError) as caught:
        check_readable([path])
    assert words in str(caught.value)


def test_a_forbidden_file_is_refused(monkeypatch):
    write("npy")

    def denied(*_: object, **__: object):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(FileError, match=r"^a\.npy: may not be read \(permission denied\)"):
        check_readable(["a.npy"])


def test_early_checks_load_no_reader():
    write("parquet")
    code = (
        "import sys; from divmatch.files import check_readable; check_readable(['a.parquet']);"
        "print([m for m in ('pyarrow', 'scipy', 'numba', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_an_npy_loads_no_table_reader():
    write("npy")
    code = (
        "import sys; from divmatch.files import read_table; from divmatch.tables import Reading;"
        "from divmatch.encoding import encode;"
        "r = Reading(); encode(read_table('a.npy', r), reading=r);"
        "print([m for m in ('pyarrow', 'scipy', 'numba', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- .parquet -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["parts", "parts/*.parquet", "par*/part-?.parquet"])
def test_parts_are_read_as_one_in_order_of_names(pattern):
    Path("parts").mkdir()
    write("parquet", "parts/part-2", ROWS[2:])
    write("parquet", "parts/part-1", ROWS[:2])
    Path("parts/_metadata").write_text("no data")
    np.testing.assert_array_equal(points(pattern), ROWS)


def test_a_glob_over_other_files_is_refused():
    write("npy")
    assert "only .parquet files are read as one" in refusal("*.npy")


def test_parts_need_the_same_columns():
    Path("d").mkdir()
    parquet_of("d/1.parquet", x=[1.0], y=[1.0])
    parquet_of("d/2.parquet", x=[1.0])
    assert "d/2.parquet: column 'y' not found" in refusal("d")


def test_parts_need_the_same_kind():
    Path("d").mkdir()
    parquet_of("d/1.parquet", x=[1.0])
    parquet_of("d/2.parquet", x=["one"])
    assert "d/2.parquet: column 'x' holds string, but double in the first part" in refusal("d")


def test_a_damaged_footer_is_refused():
    path = Path(write("parquet"))
    data = bytearray(path.read_bytes())
    data[-300:-8] = bytes(292)
    path.write_bytes(data)
    assert "cannot be read as .parquet" in refusal("a.parquet")


def test_damaged_pages_are_refused_or_read_but_never_crash():
    path = Path(write("parquet", rows=np.random.default_rng(0).normal(size=(100, 3))))
    whole = path.read_bytes()
    for start in range(4, 1200, 100):
        path.write_bytes(whole[:start] + b"\xff" * 40 + whole[start + 40 :])
        try:
            points("a.parquet")
        except DivmatchError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_only_the_chosen_columns_are_decoded(monkeypatch):
    asked = []
    real = parquet.ParquetFile.iter_batches

    def spy(self, **options):
        asked.append(options["columns"])
        return real(self, **options)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", spy)
    points(write("parquet"), columns="c1")
    assert asked == [["c1"]]


def test_a_column_whose_name_starts_another_is_not_mixed_up():
    path = parquet_of(**{"a": [1.0, 2.0], "a.b": [5.0, 6.0]})
    np.testing.assert_array_equal(points(path, columns="a"), [[1], [2]])


@pytest.mark.parametrize("type_", [pa.list_(pa.float64()), pa.list_(pa.float32(), 2)])
def test_a_list_column_is_an_embedding(type_):
    parquet_of(emb=pa.array([[1, 2], [3, 4], [5, 6]], type_))
    table = read("t.parquet::emb")
    assert table.labels == ("0", "1")
    np.testing.assert_array_equal(table.numbers, [[1, 2], [3, 4], [5, 6]])


def test_columns_of_a_picked_embedding_go_by_position():
    parquet_of(emb=[[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(points("t.parquet::emb", columns="0,2"), [[1, 3]])


def test_two_picked_columns_need_no_common_name():
    parquet_of(real=[1.0, 2.0], fake=[3.0, 4.0])
    x, y = encode(read("t.parquet::real"), read("t.parquet::fake"), reading=Reading(scale="none"))
    assert (x.points[0, 0], y.points[0, 0]) == (1.0, 3.0)


def test_ragged_lists_name_the_first_row():
    parquet_of(emb=[[1.0, 2.0]] * 3 + [[1.0]] + [[1.0, 2.0, 3.0]])
    assert "column 'emb' has 1 number at row 3 (from 0), expected 2" in refusal("t.parquet")


def test_ragged_lists_name_the_row_of_the_file_when_sampled():
    parquet_of(emb=[[1.0, 2.0]] * 40 + [[1.0]] * 60)
    assert "at row" in refusal("t.parquet", sample=50)


def test_a_missing_list_is_a_row_of_missing_values():
    parquet_of(emb=[None, [1.0, 2.0], None, [3.0, None], [5.0, 6.0]])
    np.testing.assert_array_equal(points("t.parquet", na="drop"), [[1, 2], [5, 6]])


def test_an_unknown_column_gets_a_suggestion():
    parquet_of(amount=[1.0])
    message = refusal("t.parquet", columns="amout")
    assert message == "t.parquet: column 'amout' not found; did you mean 'amount'?"


def test_dictionary_columns_are_categories():
    parquet_of(c=pa.array(["v", "u", None, "v"]).dictionary_encode())
    table = read("t.parquet")
    assert table.categories[0].words == ("u", "v")
    assert table.values("c").tolist() == [1, 0, -1, 1]


def test_unused_dictionary_words_are_left_out():
    column = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int8()), pa.array(["a", "b"]))
    parquet_of(c=column)
    assert read("t.parquet").categories[0].words == ("a",)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 1], pa.timestamp("us")),
        pa.array([0, 1], pa.date32()),
        pa.array([0, 1], pa.duration("s")),
        pa.array([b"a", b"b"]),
        pa.array([{"x": 1}, {"x": 2}]),
        pa.array([["a"], ["b"]]),
    ],
)
def test_other_types_are_refused_with_advice(column):
    parquet_of(ts=column, x=[1.0, 2.0])
    assert refusal("t.parquet").endswith("leave it out with --columns '!ts'")
    np.testing.assert_array_equal(points("t.parquet", columns="!ts"), [[1], [2]])


def test_decimals_and_truth_values_are_numbers():
    decimals = pa.array([1, 2]).cast(pa.decimal128(21, 1))
    parquet_of(d=decimals, b=[True, False])
    np.testing.assert_array_equal(points("t.parquet"), [[1, 1], [2, 0]])


NULLS = (
    pa.nulls(2),
    pa.nulls(2, pa.float64()),
    pa.nulls(2, pa.string()),
    pa.nulls(2, pa.list_(pa.float64())),
    pa.array([[], None], pa.list_(pa.float64())),
)


@pytest.mark.parametrize("nulls", NULLS, ids=lambda nulls: str(nulls.type))
@pytest.mark.parametrize("na", ["error", "drop"])
def test_a_column_without_any_value_is_refused_by_name(nulls, na):
    parquet_of(x=[1.0, 2.0], n=nulls)
    assert refusal("t.parquet", na=na) == (
        "t.parquet: column 'n' has no value at all (2 rows); leave it out with --columns '!n'"
    )


def test_a_column_without_any_value_may_be_left_out():
    parquet_of(x=[1.0, 2.0], n=pa.nulls(2))
    np.testing.assert_array_equal(points("t.parquet", columns="!n"), [[1], [2]])


def test_a_column_without_any_value_is_no_column_of_another_kind():
    parquet_of("p.parquet", c=["u", "v"])
    parquet_of("q.parquet", c=pa.nulls(2))
    with pytest.raises(SampleError, match=r"^q\.parquet: column 'c' has no value at all, so"):
        encode(read("p.parquet"), read("q.parquet"), reading=Reading())


@pytest.mark.parametrize("columns", [None, "x", "!x", "num:*"])
def test_a_table_without_columns_is_refused(columns):
    parquet_of()
    message = refusal("t.parquet", columns=columns)
    assert message == "t.parquet: has no column; at least one is needed"


def test_objects_without_fields_are_a_table_without_columns():
    Path("a.ndjson").write_text("{}\n{}\n")
    assert refusal("a.ndjson") == "a.ndjson: has no column; at least one is needed"


def test_a_table_of_weights_alone_is_refused():
    parquet_of(w=[1.0, 2.0])
    assert refusal("t.parquet", weights="w") == (
        "t.parquet: has no column besides the weights 'w'; at least one is needed"
    )


def test_a_name_that_appears_twice_is_refused():
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["x", "x"])
    parquet.write_table(table, "t.parquet")
    assert refusal("t.parquet").startswith("t.parquet: column 'x' appears twice")


def test_zero_rows_are_refused():
    parquet_of(x=pa.array([], pa.float64()))
    assert "is empty (0 rows)" in refusal("t.parquet")


# -- text ---------------------------------------------------------------------------------------


def test_empty_cells_are_missing_in_numbers_and_text():
    Path("a.csv").write_text("x,c\n1,u\n,\n")
    table = read("a.csv")
    assert np.isnan(table.values("x")[1])
    assert table.values("c")[1] == -1


def test_a_header_of_numbers_is_refused():
    Path("a.csv").write_text("1.5,2\n3,4\n")
    assert "the first line holds numbers, expected names" in refusal("a.csv")


def test_a_header_that_counts_the_columns_is_a_header():
    Path("a.csv").write_text("0,1\n3,4\n")
    np.testing.assert_array_equal(points("a.csv"), [[3, 4]])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.csv", "x,y\n1,2\n3\n"),
        ("a.ndjson", '{"x": 1}\n{"x": \n'),
        ("a.ndjson", "[1, 2]\n"),
        ("a.jsonl", "hello\n"),
        ("a.csv", "x,y\n"),
    ],
)
def test_broken_text_is_refused(path, text):
    Path(path).write_text(text)
    assert refusal(path).startswith(f"{path}: ")


def test_text_that_is_not_utf8_is_refused_or_called_binary():
    Path("a.csv").write_bytes(b"x,c\n1,\xff\xfe\n")
    assert refusal("a.csv").startswith("a.csv: ")


def test_lists_in_ndjson_are_embeddings():
    Path("a.ndjson").write_text('{"e": [1, 2]}\n{"e": [3, 4.5]}\n')
    np.testing.assert_array_equal(points("a.ndjson"), [[1, 2], [3, 4.5]])


# -- rows and weights ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_sampled_rows_depend_only_on_the_seed(kind):
    rows = np.arange(300.0).reshape(100, 3)
    first = points(write("npy", rows=rows), sample=20)
    assert len(first) == 20
    np.testing.assert_array_equal(points(write(kind, "b", rows), sample=20), first)


def test_sampled_rows_are_different_rows_in_order():
    np.save("a.npy", np.arange(1000))
    got = points("a.npy", sample="10%")[:, 0]
    assert len(got) == 100
    assert (np.diff(got) > 0).all()


def test_another_seed_draws_other_rows():
    np.save("a.npy", np.arange(1000))
    assert not np.array_equal(points("a.npy", sample=50), points("a.npy", sample=50, seed=1))


def test_the_two_sides_draw_different_rows():
    np.save("a.npy", np.arange(1000))
    p, q = (read("a.npy", role, sample=50).numbers for role in ("p", "q"))
    assert not np.array_equal(p, q)


def test_what_sampling_left_out_is_recorded():
    np.save("a.npy", np.arange(1000))
    (samples,) = encode(read("a.npy", sample=50), reading=Reading(sample=50))
    assert samples.origin["dropped"] == {"sample": 950}
    assert samples.origin["rows"] == 1000


def test_missing_values_are_counted_from_the_start_of_the_file():
    values = np.arange(100.0)
    values[90:] = np.nan
    np.save("a.npy", values)
    picked = read("a.npy", sample=50).picked
    first = int(picked[picked >= 90][0])
    assert f"first at row {first}" in refusal("a.npy", sample=50)


def test_a_weight_column_is_not_data():
    parquet_of(x=[1.0, 2.0], w=[1.0, 3.0])
    (samples,) = encode(read("t.parquet", weights="w"), reading=Reading(scale="none"))
    assert samples.columns == ("x",)
    np.testing.assert_array_equal(samples.weights, [0.25, 0.75])


@pytest.mark.parametrize("given_", ["w.npy", "w.npz::w"])
def test_weights_come_from_a_file_of_their_own(given_):
    np.save("w.npy", [1, 1, 2, 0])
    np.savez("w.npz", w=[1, 1, 2, 0], v=[1])
    table = read(write("csv"), weights_p=given_)
    np.testing.assert_array_equal(table.weights, [1, 1, 2, 0])
    assert table.weights_from == given_


@pytest.mark.parametrize(
    "given_", ["w.csv", "w.parquet", "w.ndjson", "w.csv::w", "two.csv::w", "two.parquet::w"]
)
def test_weights_come_from_a_column_of_another_table(given_):
    Path("w.csv").write_text("w\n1\n1\n2\n0\n")
    Path("w.ndjson").write_text("".join(f'{{"w": {w}}}\n' for w in (1, 1, 2, 0)))
    Path("two.csv").write_text("id,w\n1,1\n1,1\n2,2\n2,0\n")
    parquet_of("w.parquet", w=[1, 1, 2, 0])
    parquet_of("two.parquet", id=[1, 2, 3, 4], w=[1, 1, 2, 0])
    np.testing.assert_array_equal(read(write("npy"), weights_p=given_).weights, [1, 1, 2, 0])


def test_weights_from_a_table_of_several_columns_need_its_name():
    parquet_of("w.parquet", id=[1, 2, 3, 4], w=[1, 1, 2, 0])
    assert refusal(write("npy"), weights_p="w.parquet") == (
        "w.parquet: holds 2 columns; pick the one with the weights, w.parquet::COLUMN with COLUMN "
        "one of 'id', 'w'"
    )


@pytest.mark.parametrize("given_", ["w.npy", "w.csv", "w.parquet::w", "w.npz::w"])
def test_weights_in_a_file_that_is_missing_are_refused(given_):
    assert refusal(write("npy"), weights_p=given_) == f"{given_}: no such file"


def test_a_column_with_the_name_of_a_file_is_the_column():
    parquet_of(x=[1.0, 2.0], **{"w.csv": [1.0, 3.0]})
    Path("w.csv").write_text("w\n5\n5\n")
    assert read("t.parquet", weights_p="w.csv").weights.tolist() == [1, 3]


def test_weights_of_q_leave_p_alone():
    np.save("w.npy", [1, 1, 2, 0])
    assert read(write("npy"), weights_q="w.npy").weights is None
    assert read(write("npy"), role="q", weights_q="w.npy").weights is not None


def test_weights_follow_sampled_rows():
    np.save("a.npy", np.arange(100.0))
    np.save("w.npy", np.arange(100.0))
    table = read("a.npy", weights_p="w.npy", sample=10)
    np.testing.assert_array_equal(table.weights, table.numbers[:, 0])


def test_dropped_rows_drop_their_weight():
    parquet_of(x=[1.0, None, 3.0], w=[1.0, 5.0, 3.0])
    reading = Reading(weights="w", na="drop")
    (samples,) = encode(read_table("t.parquet", reading), reading=reading)
    np.testing.assert_array_equal(samples.weights, [0.25, 0.75])
    assert samples.origin["dropped"] == {"nan": 1}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, 2.0], "holds 2 weights, but a.npy has 4 rows"),
        ([1.0, -1.0, 1.0, 1.0], "weight -1.0 at row 1"),
        ([1.0, np.nan, 1.0, 1.0], "weight nan at row 1"),
        ([0.0, 0.0, 0.0, 0.0], "all weights are zero"),
        (["a", "b", "c", "d"], "column '0' holds string, no weights"),
    ],
)
def test_unusable_weights_are_refused(weights, words):
    np.save("w.npy", weights)
    message = refusal(write("npy"), weights_p="w.npy")
    assert message.startswith("w.npy: ")
    assert words in message


def test_huge_weights_do_not_overflow():
    np.save("w.npy", [1e308] * 4)
    (samples,) = encode(read(write("npy"), weights_p="w.npy"), reading=Reading())
    np.testing.assert_array_equal(samples.weights, [0.25] * 4)


def test_an_unknown_weight_column_gets_a_suggestion():
    parquet_of(x=[1.0], weight=[1.0])
    assert "did you mean 'weight'?" in refusal("t.parquet", weights="wieght")


def test_text_is_no_weight():
    parquet_of(x=[1.0], w=["heavy"])
    assert "column 'w' holds string, no weights" in refusal("t.parquet", weights="w")


# -- whole numbers beyond 2^53 --------------------------------------------------------------------


def notes(path: str, **options: object) -> list[tuple[str, str]]:
    reading = Reading(**{"scale": "none"} | options)
    (samples,) = encode(read_table(path, reading), reading=reading)
    return samples.origin["notes"]


LARGE = np.array([1, 2**53 + 1, 3])


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet", "csv", "ndjson"])
def test_rounded_whole_numbers_are_a_warning_with_file_and_column(kind):
    path = write(kind, rows=np.column_stack([LARGE, [1, 2, 3]]))
    name = "0" if kind in ("npy", "npz") else "c0"
    assert notes(path) == [
        ("W26", f"column '{name}' of {path} holds whole numbers beyond 2^53, which were rounded")
    ]


@pytest.mark.parametrize(
    ("values", "rounded"),
    [
        ([2**53, -(2**53)], False),
        ([2**53 + 2, 2**62], False),
        ([2**53 + 1], True),
        ([-(2**53) - 1], True),
        ([2**63 - 1], True),
        ([-(2**63)], False),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_only_what_is_rounded_is_warned_of(values, rounded, kind):
    assert bool(notes(write(kind, rows=np.array(values)[:, None]))) == rounded


@pytest.mark.parametrize(("value", "rounded"), [(2**64 - 1, True), (2**63, False)])
@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_unsigned_numbers_may_be_rounded_too(kind, value, rounded):
    path = write(kind, rows=np.array([[value]], dtype="u8"))
    assert bool(notes(path)) == rounded


def test_rounded_numbers_in_lists_and_beside_gaps_are_seen():
    parquet_of(e=[[1, 2**53 + 1]] * 2, g=pa.array([None, 2**60 + 1]))
    assert "columns 'e', 'g' of t.parquet hold" in notes("t.parquet", na="drop")[0][1]


def test_columns_and_rows_left_out_are_not_warned_of():
    path = write("npy", rows=np.column_stack([LARGE, [1, 2, 3]]))
    assert notes(path, columns="1") == []
    parquet_of(x=LARGE, y=[1, 2, 3])
    assert notes("t.parquet", columns="y") == []


# -- lists of files, info -----------------------------------------------------------------------


def test_names_come_one_a_line():
    Path("list").write_bytes(b"a.npy\r\n\nb c.npy\n")
    assert files_from("list") == ["a.npy", "b c.npy"]


def test_names_may_be_separated_by_nul():
    Path("list").write_bytes("a\nb.npy\0größe.npy\0".encode())
    assert files_from("list", nul=True) == ["a\nb.npy", "größe.npy"]


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "lists no file"), (b"a\0b\0", "holds NUL bytes; add -0")]
)
def test_lists_that_name_nothing_are_refused(content, words):
    Path("list").write_bytes(content)
    with pytest.raises(FileError, match=words):
        files_from("list")


def test_a_missing_list_is_refused():
    with pytest.raises(FileError, match="no such file"):
        files_from("list")


def test_info_describes_every_column():
    parquet_of(
        x=[1.0, None, 3.0, 1.0], c=["u", "v", None, "u"], t=pa.array([0, 0, 0, 0], pa.date32())
    )
    found = describe("t.parquet")
    number, category, other = found["columns"]
    assert (found["rows"], found["duplicates"]) == (4, 1)
    assert (number["min"], number["max"], number["missing"]) == (1.0, 3.0, 1)
    assert number["mean"] == pytest.approx(5 / 3, rel=1e-15)
    assert (category["distinct"], category["most_frequent"], category["missing"]) == (2, "u", 1)
    assert (other["name"], other["kind"], other["missing"]) == ("t", "other", 0)


@pytest.mark.parametrize("kind", ["npy", "parquet", "csv"])
def test_info_counts_missing_and_infinite_values(kind):
    rows = np.array([[1.0, np.inf], [np.nan, 2.0], [np.nan, -np.inf]])
    columns = describe(write(kind, rows=rows))["columns"]
    counts = [(column["missing"], column["infinite"]) for column in columns]
    assert counts == [(2, 0), (0, 2)]


def test_info_counts_missing_values_of_any_type():
    parquet_of(t=pa.array([0, None, None], pa.date32()))
    assert describe("t.parquet")["columns"][0]["missing"] == 2


def test_info_of_a_file_without_readable_columns_names_them():
    parquet_of(t=pa.array([0, 0], pa.date32()))
    assert describe("t.parquet")["duplicates"] == 0


def test_info_of_a_plain_array_names_columns_by_position():
    found = describe(write("npy"))
    assert [column["name"] for column in found["columns"]] == ["0", "1", "2"]
    assert found["columns"][1]["mean"] == 5.5


def test_info_of_an_unknown_column_is_refused():
    with pytest.raises(FileError, match="did you mean 'c1'"):
        describe(write("parquet") + "::c1x")


def test_reading_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in KINDS:
            points(write(kind))


def test_empty_samples_are_their_own_kind_of_error():
    np.save("a.npy", np.zeros((0, 2)))
    with pytest.raises(SampleError):
        read("a.npy")
