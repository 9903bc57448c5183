"""Text in blocks: the same table as in one piece, and only the chosen columns in memory."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from divmatch import ndjson, text
from divmatch.errors import DivmatchError, FileError, SampleError
from divmatch.files import describe, read_table
from divmatch.tables import Reading

DAY, MOMENT = "2020-01-01", "2020-01-01 00:00:01"
COLUMNS = {  # a hundred values that show one type, then some that may show another
    "integers, then fractions": (["1"] * 100, ["1.5"]),
    "integers, then text": (["1"] * 100, ["a"]),
    "integers, then huge ones": (["1"] * 100, ["123456789012345678901234567890"]),
    "integers, then gaps": (["1"] * 100, [""] * 9),
    "integers, then truth values": (["1", "0"] * 50, ["true"]),
    "fractions, then integers": (["1.5"] * 100, ["1"]),
    "fractions, then not a number": (["1.5"] * 100, ["nan", "inf"]),
    "gaps, then integers": ([""] * 100, ["1"]),
    "gaps, then text": ([""] * 100, ["a"]),
    "gaps alone": ([""] * 100, [""]),
    "text, then integers": (["a"] * 100, ["1"]),
    "truth values, then integers": (["true"] * 100, ["1", "0"]),
    "truth values, then text": (["true"] * 100, ["maybe"]),
    "days, then moments": ([DAY] * 100, [MOMENT]),
    "days, then text": ([DAY] * 100, ["never"]),
    "moments, then days": ([MOMENT] * 100, [DAY]),
}
VALUES = {  # the same for the values of a field of JSON objects; None is no field at all
    "integers, then fractions": (["1"] * 100, ["1.5"]),
    "integers, then huge ones": (["1"] * 100, ["123456789012345678901234567890"]),
    "fractions, then integers": (["1.5"] * 100, ["1"]),
    "null, then integers": (["null"] * 100, ["1"]),
    "null, then text": (["null"] * 100, ['"a"']),
    "null, then lists": (["null"] * 100, ["[1, 2]"]),
    "null alone": (["null"] * 100, ["null"]),
    "nothing, then integers": ([None] * 100, ["1"]),
    "integers, then nothing": (["1"] * 100, [None]),
    "days, then text": ([f'"{DAY}"'] * 100, ['"never"']),
    "text, then days": (['"never"'] * 100, [f'"{DAY}"']),
    "lists of integers, then of fractions": (["[1, 2]"] * 100, ["[1.5, 2]"]),
    "empty lists, then full ones": (["[]"] * 100, ["[1.5, 2]"]),
}


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def blocks(monkeypatch):
    """Blocks so small that the first one cannot know what comes."""
    monkeypatch.setattr(text, "BLOCKS", (256, 512))
    monkeypatch.setattr(ndjson, "BLOCK_BYTES", 256)


def objects(values) -> str:
    fields = ("" if value is None else f', "x": {value}' for value in values)
    return "".join(f'{{"k": {k}{field}}}\n' for k, field in enumerate(fields))


def outcome(path: str):
    """The table as plain values, or the one line that reading it ends in."""
    try:
        table = read_table(path, Reading())
    except DivmatchError as error:
        return str(error)
    columns = [(c.name, c.kind, c.type, c.words) for c in table.columns]
    return columns, table.numbers.tobytes(), table.codes.tobytes()


def in_one_piece(path: str, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(text, "BLOCKS", (1 << 24,))
        patched.setattr(ndjson, "BLOCK_BYTES", 1 << 24)
        return outcome(path)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_csv_is_the_same_in_blocks(name, blocks, monkeypatch):
    values = [value for part in COLUMNS[name] for value in part]
    rows = (f"{k},{value}" for k, value in enumerate(values))
    Path("a.csv").write_text("\n".join(["k,x", *rows, ""]))
    assert outcome("a.csv") == in_one_piece("a.csv", monkeypatch)


@pytest.mark.parametrize("name", VALUES)
def test_a_field_of_ndjson_is_the_same_in_blocks(name, blocks, monkeypatch):
    Path("a.ndjson").write_text(objects(value for part in VALUES[name] for value in part))
    assert outcome("a.ndjson") == in_one_piece("a.ndjson", monkeypatch)


@pytest.mark.parametrize("late", ['"a"', "true", '{"y": 1}', "[1]"])
def test_json_of_two_kinds_is_refused_in_one_line(late, blocks):
    Path("a.ndjson").write_text(objects(["1"] * 100 + [late] * 9))
    with pytest.raises(FileError, match=r"^a\.ndjson: (column 'x' holds int64 in some|cannot be)"):
        read_table("a.ndjson", Reading())


def test_json_of_two_kinds_in_one_block_is_refused_in_one_line():
    Path("a.ndjson").write_text(objects(["1", "true"]))
    with pytest.raises(FileError, match=r"^a\.ndjson: cannot be read as ndjson \("):
        read_table("a.ndjson", Reading())


def test_a_broken_line_is_named_by_its_number_in_the_file(blocks):
    Path("a.ndjson").write_text("\n" + objects(["1"] * 500) + "\n{oops}\n")
    with pytest.raises(FileError, match=r"in line 503\b"):
        read_table("a.ndjson", Reading())


def test_a_line_longer_than_a_block_is_read(blocks):
    Path("a.ndjson").write_text(f'{{"e": {list(range(500))}}}\n' * 3)
    assert read_table("a.ndjson", Reading()).numbers.shape == (3, 500)


def test_a_row_longer_than_the_first_block_is_read(monkeypatch):
    monkeypatch.setattr(text, "BLOCKS", (256, 1 << 16))
    Path("a.csv").write_text("x,c\n1,u\n2," + "v" * 5000 + "\n")
    assert read_table("a.csv", Reading()).rows == 2


def test_a_row_longer_than_every_block_is_refused(blocks):
    Path("a.csv").write_text("x,c\n1,u\n2," + "v" * 5000 + "\n")
    with pytest.raises(FileError, match=r"^a\.csv: cannot be read as csv \("):
        read_table("a.csv", Reading())


def test_blank_lines_are_no_rows(blocks):
    Path("a.ndjson").write_text('{"x": 1}\n' + "\n" * 600 + '{"x": 2}\n')
    assert read_table("a.ndjson", Reading()).rows == 2


def test_a_late_kind_decides_what_a_pattern_chooses(blocks):
    rows = [f"{k},1,u" for k in range(100)]
    Path("a.csv").write_text("\n".join(["k,late,c", *rows, "100,v,u"]))
    assert read_table("a.csv", Reading(columns="cat:*")).names == ("late", "c")


def test_a_ragged_row_in_a_late_block_is_refused(blocks):
    Path("a.csv").write_text("x,y\n" + "1,2\n" * 200 + "3\n")
    with pytest.raises(FileError, match="has 1 cell at row 200"):
        read_table("a.csv", Reading(columns="x"))


@pytest.mark.parametrize("kind", ["csv", "tsv", "ndjson"])
def test_rows_of_many_blocks_are_all_there_in_order(kind, blocks):
    numbers = np.arange(3000.0).reshape(1000, 3)
    mark = "\t" if kind == "tsv" else ","
    lines = (
        [f'{{"a": {a}, "b": {b}, "c": {c}}}' for a, b, c in numbers]
        if kind == "ndjson"
        else [mark.join("abc"), *(mark.join(map(str, row)) for row in numbers)]
    )
    Path(f"x.{kind}").write_text("\n".join(lines))
    found = read_table(f"x.{kind}", Reading(columns="a,c", sample=None))
    np.testing.assert_array_equal(found.numbers, numbers[:, [0, 2]])


def test_chosen_columns_keep_the_order_of_the_file(blocks):
    Path("a.csv").write_text("z,y,x\n" + "1,u,3\n" * 200)
    assert read_table("a.csv", Reading(columns="x,z")).names == ("z", "x")


def test_info_looks_into_every_column_of_text(blocks):
    Path("a.csv").write_text("x,d\n" + f"1,{DAY}\n" * 100 + ",\n" + f"2,{DAY}\n" * 100)
    found = describe("a.csv")
    assert [(c["name"], c["kind"], c["missing"]) for c in found["columns"]] == [
        ("x", "num", 1),
        ("d", "other", 1),
    ]


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_columns_not_asked_for_are_not_kept(kind):
    names = [f"c{k}" for k in range(50)]
    block = np.random.default_rng(0).normal(size=(8000, len(names)))
    if kind == "csv":
        csv.write_csv(pa.table(dict(zip(names, block.T, strict=True))), "a.csv")
    else:
        rows = (
            "{" + ", ".join(f'"{n}": {v}' for n, v in zip(names, r, strict=True)) + "}"
            for r in block
        )
        Path("a.ndjson").write_text("\n".join(rows))
    code = (
        "import pyarrow; from divmatch import ndjson, text\n"
        "text.BLOCKS, ndjson.BLOCK_BYTES = (1 << 14,), 1 << 14\n"
        "from divmatch.files import read_table; from divmatch.tables import Reading\n"
        f"read_table('a.{kind}', Reading(columns='c7'))\n"
        "print(pyarrow.default_memory_pool().max_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < block.nbytes / 3


def test_piped_text_is_read_in_blocks_too(blocks, monkeypatch):
    class Piped:
        closed = False
        buffer = io.BytesIO(b"x,y\n" + b"1,u\n" * 300 + b"1.5,v\n")

    monkeypatch.setattr(sys, "stdin", Piped())
    table = read_table("-", Reading())
    assert (table.rows, table.numbers.max(), table.categories[0].words) == (301, 1.5, ("u", "v"))


@pytest.mark.parametrize("line", ["null", "1", "[1]", '"x"', "{", '{"x": 1} null', "hello"])
def test_a_line_that_is_no_object_is_refused_by_number(line, blocks):
    Path("a.ndjson").write_text(f'{{"x": 1}}\n\n{line}\n{{"x": 2}}\n')
    with pytest.raises(FileError, match=r"^a\.ndjson: line 3 holds no whole object: "):
        read_table("a.ndjson", Reading())


def test_a_first_line_of_null_ends_in_one_line():
    Path("a.ndjson").write_text('null\n{"x": 1}\n')
    code = (
        "from divmatch.errors import FileError; from divmatch.files import read_table\n"
        "from divmatch.tables import Reading\n"
        "try: read_table('a.ndjson', Reading())\n"
        "except FileError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("a.ndjson: line 1 holds no whole object: 'null'; ")


@pytest.mark.parametrize("depth", [65, 3000, 100_000])
@pytest.mark.parametrize("hidden", ["", "]" * 200, r"\"" + "]" * 200])
def test_objects_nested_too_deeply_are_refused(depth, hidden):
    deep = f'{{"s": "{hidden}", "x": {"[" * depth}{"]" * depth}}}\n'
    Path("a.ndjson").write_text('{"s": "", "x": []}\n' + deep)
    with pytest.raises(FileError, match=r"^a\.ndjson: line 2 is nested more than 64 deep; "):
        read_table("a.ndjson", Reading())


def test_brackets_in_text_are_no_nesting():
    Path("a.ndjson").write_text('{"c": "' + "[" * 200 + r"\"{" + '"}\n')
    assert read_table("a.ndjson", Reading()).rows == 1


def test_many_objects_side_by_side_are_no_nesting():
    Path("a.ndjson").write_text('{"x": 1, "o": [' + ", ".join(['{"y": 1}'] * 100) + "]}\n")
    assert read_table("a.ndjson", Reading(columns="x")).rows == 1


@pytest.mark.parametrize("text_", ['\ufeff{"x": 1}\r\n{"x": 2}\r\n', '  {"x": 1}  \n\t{"x": 2}'])
def test_marks_and_spaces_around_objects_are_no_fault(text_):
    Path("a.ndjson").write_text(text_, encoding="utf-8", newline="")
    assert read_table("a.ndjson", Reading()).numbers[:, 0].tolist() == [1, 2]


def dirty(path: str = "a.csv", *, bad: str = "oops", at: int = 100) -> str:
    """A column of numbers with one word among them, which makes all of it text."""
    values = [f"{k / 8}" for k in range(200)]
    values.insert(at, bad)
    Path(path).write_text("\n".join(["k,x", *(f"{k},{v}" for k, v in enumerate(values)), ""]))
    return path


def test_a_word_among_numbers_is_refused_by_row():
    with pytest.raises(SampleError) as caught:
        read_table(dirty(), Reading())
    assert str(caught.value) == (
        "a.csv: column 'x' is text because of 'oops' at row 100 (from 0); 1 of 201 values is no "
        "number: correct it, leave the column out with --columns '!x', or say that it holds "
        "categories with --columns '*,cat:x'"
    )


@pytest.mark.parametrize("columns", ["x", "*", "k,x", "!k"])
def test_choosing_a_column_does_not_say_that_it_holds_categories(columns):
    with pytest.raises(SampleError, match="is text because of 'oops'"):
        read_table(dirty(), Reading(columns=columns))


@pytest.mark.parametrize("columns", ["cat:x", "*,cat:x", "cat:*"])
def test_numbers_are_categories_where_the_user_says_so(columns):
    table = read_table(dirty(), Reading(columns=columns))
    assert len(table.categories[0].words) == 201


def test_a_word_among_numbers_is_seen_outside_the_sampled_rows():
    dirty(at=0)
    for seed in range(3):
        with pytest.raises(SampleError, match="at row 0"):
            read_table("a.csv", Reading(sample=2, seed=seed))


def test_a_column_left_out_may_hold_anything():
    assert read_table(dirty(), Reading(columns="!x")).names == ("k",)


def test_info_shows_words_among_numbers():
    assert describe(dirty())["columns"][1]["kind"] == "cat"


@pytest.mark.parametrize("words", [["a", "b", "1"], ["a", "1"], ["A1", "B2"], ["1-2", "3-4"]])
def test_words_with_few_numbers_are_categories(words):
    Path("a.csv").write_text("\n".join(["k,x", *(f"1,{word}" for word in words * 20)]))
    assert read_table("a.csv", Reading()).categories[0].words == tuple(sorted(words))


def test_text_that_json_calls_text_holds_categories():
    Path("a.ndjson").write_text('{"x": "1"}\n{"x": "2"}\n{"x": "oops"}\n')
    assert read_table("a.ndjson", Reading()).categories[0].words == ("1", "2", "oops")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", [0, 3])
def test_a_blank_line_of_a_single_column_is_a_missing_value(end, before, blocks):
    lines = [*[""] * before, "x", *["1"] * 200, "", "3", "", ""]
    Path("a.csv").write_bytes(end.join(lines).encode())
    found = read_table("a.csv", Reading()).values("x")
    np.testing.assert_array_equal(found, [*[1] * 200, np.nan, 3, np.nan])


def test_a_blank_line_between_several_columns_is_no_row():
    Path("a.csv").write_text("x,y\n1,2\n\n3,4\n\n")
    assert read_table("a.csv", Reading()).rows == 2


@pytest.mark.parametrize(
    ("text_", "row"),
    [
        ("x,y\n1,2\n3\n4,5\n", 1),
        ("\nx,y\n\n1,2\n\n3\n", 1),
        ("x,y\n" + "1,2\n" * 200 + "3\n", 200),
        ('x,y\n"1\n",2\n3\n', 1),
    ],
)
def test_a_row_with_a_cell_too_few_is_named_by_its_number(text_, row, blocks):
    Path("a.csv").write_text(text_)
    with pytest.raises(FileError) as caught:
        read_table("a.csv", Reading())
    assert str(caught.value) == (
        f"a.csv: has 1 cell at row {row} (from 0), expected 2 as in the header: '3'; correct this row"
    )


def test_a_row_with_a_cell_too_many_is_named_by_its_number(blocks):
    Path("a.csv").write_text("\n\nx\n1\n2,3\n")
    with pytest.raises(FileError, match=r"has 2 cells at row 1 \(from 0\), expected 1"):
        read_table("a.csv", Reading())
