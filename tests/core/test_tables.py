"""Encoding: mixed columns into numbers, on the scale of the reference."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divmatch.columns import chosen
from divmatch.encoding import Encoder, encode
from divmatch.errors import DivmatchError, FileError, InconclusiveError, SampleError, SettingError
from divmatch.kernels.execution import executing
from divmatch.provenance import fingerprint, input_info
from divmatch.samples import Samples, as_samples
from divmatch.tables import Column, Reading, Table, labels_of

NAN = np.nan
PLAIN = Reading(scale="none")


def table(name="p", weights=None, **columns):
    """A table of lists: numbers, lists of numbers, or text with None."""
    headings, numbers, codes = [], [], []
    for key, values in columns.items():
        if any(isinstance(value, str) for value in values):
            words = sorted({value for value in values if value is not None})
            headings.append(Column(key, "cat", words=tuple(words)))
            codes.append([-1 if value is None else words.index(value) for value in values])
        else:
            block = np.array(values, dtype=float)
            kind = "list" if block.ndim == 2 else "num"
            numbers.append(block.reshape(len(values), -1))
            headings.append(Column(key, kind, numbers[-1].shape[1]))
    n = len(next(iter(columns.values())))
    return Table(
        name,
        "parquet",
        n,
        tuple(headings),
        labels_of(headings),
        np.hstack(numbers) if numbers else np.empty((n, 0)),
        np.array(codes, dtype=np.int32).T if codes else np.empty((n, 0), dtype=np.int32),
        weights=None if weights is None else np.array(weights, dtype=float),
    )


def array(values, name="a.npy"):
    """A plain array as a table."""
    block = np.asarray(values)
    labels = tuple(str(k) for k in range(block.shape[1]))
    empty = np.empty((len(block), 0), dtype=np.int32)
    column = (Column("", "list", block.shape[1]),)
    return Table(name, "npy", len(block), column, labels, block, empty, plain=True)


def points(source, **options):
    return encode(source, reading=Reading(**({"scale": "none"} | options)))[0].points


def codes(samples):
    return [code for code, _ in samples.origin["notes"]]


# -- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"na": "dropp"}, "--na: 'dropp' is unknown, .*did you mean 'drop'"),
        ({"scale": "iqr"}, "--scale: 'iqr' is unknown"),
        ({"categorical": "ordinal"}, "--categorical: 'ordinal' is unknown"),
        ({"stdin_format": "xls"}, "--stdin-format: 'xls' is unknown"),
        ({"sample": 0}, "--sample: '0' is no number of rows"),
        ({"sample": -3}, "--sample"),
        ({"sample": "half"}, "--sample: 'half'"),
        ({"sample": "0%"}, "--sample: '0%'"),
        ({"sample": "101%"}, "--sample: '101%'"),
        ({"sample": "nan%"}, "--sample: 'nan%'"),
        ({"sample": "inf%"}, "--sample: 'inf%'"),
    ],
)
def test_unknown_choices_are_refused(options, words):
    with pytest.raises(SettingError, match=words):
        Reading(**options)


@pytest.mark.parametrize(
    ("sample", "kept"), [(None, 200), (10, 10), ("10", 10), ("10%", 20), (999, 200), ("0.1%", 1)]
)
def test_sample_is_a_count_or_a_share(sample, kept):
    assert Reading(sample=sample).sampled(200) == kept


# -- --columns ----------------------------------------------------------------------------------

KINDS = {"id": "num", "age": "num", "pay": "num", "dev": "cat", "emb": "list", "ts": "other"}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (None, ["id", "age", "pay", "dev", "emb", "ts"]),
        ("age", ["age"]),
        ("pay,age", ["age", "pay"]),
        (" age , pay ", ["age", "pay"]),
        ("num:*", ["id", "age", "pay"]),
        ("cat:*", ["dev"]),
        ("num:*,!id,emb", ["age", "pay", "emb"]),
        ("!id,num:*", ["age", "pay"]),
        ("!ts", ["id", "age", "pay", "dev", "emb"]),
        ("?a*,age", ["age", "pay"]),
        ("[ap]*", ["age", "pay"]),
        ("num:age,cat:*", ["age", "dev"]),
        ("age,cat:none*", ["age"]),
    ],
)
def test_patterns_choose_columns(pattern, names):
    assert chosen(pattern, KINDS, "f")[0] == names


@pytest.mark.parametrize(
    ("pattern", "names"), [("0,2", ["0", "2"]), ("1-3", ["1", "2", "3"]), ("!0", ["1", "2", "3"])]
)
def test_positions_choose_columns_of_arrays(pattern, names):
    assert chosen(pattern, dict.fromkeys("0123", "num"), "f")[0] == names


@pytest.mark.parametrize("name", ["num:x", "!x", "a*", "0-3", "a,b", "[x]", "ü"])
def test_a_name_wins_over_its_reading_as_a_pattern(name):
    kinds = {name: "num", "other": "num"}
    assert chosen(name.replace(",", "\\,"), kinds, "f")[0] == [name]


@pytest.mark.parametrize("pattern", ["aeg", "0-9", "x*", "num:q*", "!*", "cat:age"])
def test_patterns_that_choose_nothing_are_refused(pattern):
    with pytest.raises(FileError, match=r"^f: "):
        chosen(pattern, KINDS, "f")


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(FileError, match=r"^f: column 'aeg' not found; did you mean 'age'\?$"):
        chosen("aeg", KINDS, "f")


def test_an_exclusion_may_be_unknown_to_one_of_two_tables():
    _, unmatched = chosen("!x", {"y": "num"}, "q")
    x, y = table(y=[1, 2]), table("q", y=[1, 2])
    object.__setattr__(y, "unmatched", unmatched)
    assert len(encode(x, y, reading=PLAIN)) == 2


def test_an_exclusion_unknown_to_both_tables_is_refused():
    x, y = table(amount=[1, 2]), table("q", amount=[1, 2])
    for each in (x, y):
        object.__setattr__(each, "unmatched", ("amout",))
    with pytest.raises(FileError, match="p, q: excluded column 'amout' not found; did you mean"):
        encode(x, y, reading=PLAIN)


# -- matching columns ---------------------------------------------------------------------------


def test_columns_are_matched_by_name():
    x, y = encode(table(a=[1], b=[2]), table("q", b=[20], a=[10]), reading=PLAIN)
    np.testing.assert_array_equal(y.points, [[10, 20]])
    assert y.columns == x.columns == ("a", "b")


def test_categories_are_matched_by_name():
    x = table(a=["u"], b=["v"])
    y = table("q", b=["v"], a=["u"])
    np.testing.assert_array_equal(*(s.points for s in encode(x, y, reading=PLAIN)))


def test_lists_move_as_one_block():
    x, y = table(e=[[1, 2]], a=[3]), table("q", a=[3], e=[[1, 2]])
    np.testing.assert_array_equal(*(s.points for s in encode(x, y, reading=PLAIN)))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (table(a=[1], b=[2]), table("q", a=[1]), "q: lacks 'b', compared with p"),
        (table(a=[1]), table("q", a=[1], b=[2]), "q: has 'b' in addition, compared with p"),
        (table(a=[1]), table("q", b=[1]), "q: lacks 'a' and has 'b' in addition"),
        (table(a=[1]), table("q", a=["1"]), "q: column 'a' holds categories, but numbers in p"),
        (table(a=["1"]), table("q", a=[1]), "q: column 'a' holds numbers, but categories in p"),
        (table(a=[[1, 2]]), table("q", a=[[1, 2, 3]]), "q: column 'a' has 3 numbers a row, but 2"),
        (array([[1, 2]]), array([[1, 2, 3]], "b.npy"), "a.npy has 2 columns, b.npy has 3; both"),
        (array([[1]]), array([[1, 2]], "b.npy"), "a.npy has 1 column, b.npy has 2; both"),
        (array([[1.0]]), table("q", a=["u"]), "q: column 'a' holds categories, but a.npy holds"),
        (table(a=["u"]), array([[1.0]]), "p: column 'a' holds categories, but a.npy holds only"),
    ],
)
def test_columns_that_do_not_match_are_refused(x, y, words):
    with pytest.raises(SampleError) as caught:
        encode(x, y, reading=PLAIN)
    assert str(caught.value).startswith(words)


def test_an_array_matches_a_table_with_as_many_numbers():
    x, y = encode(table(a=[1.0], b=[2.0]), array([[3.0, 4.0]]), reading=PLAIN)
    assert x.columns == y.columns == ("a", "b")


# -- missing and infinite values ----------------------------------------------------------------


def test_a_missing_value_is_an_error_by_default():
    with pytest.raises(SampleError) as caught:
        points(table("gen.parquet", id=[1, 2, 3, 4], age=[1, NAN, 2, NAN]))
    assert str(caught.value) == (
        "gen.parquet: column 'age' has 2 missing values, first at row 1 (from 0); "
        "choose --na drop or --na mean"
    )


def test_a_missing_category_is_an_error_by_default():
    with pytest.raises(SampleError, match="column 'c' has 1 missing value, first at row 1"):
        points(table(c=["u", None]))


@pytest.mark.parametrize("na", ["error", "drop", "mean", "category"])
def test_infinite_values_are_always_an_error(na):
    with pytest.raises(SampleError, match="column 'a' has 2 infinite values, first at row 1"):
        points(table(a=[1, np.inf, -np.inf], b=[NAN, 1, 2]), na=na)


def test_large_finite_values_are_not_infinite():
    assert np.isfinite(points(table(a=[1e308, 1e308, 1e308]))).all()


def test_drop_leaves_out_every_row_with_a_gap():
    got = points(table(a=[1, NAN, 3, 4], c=["u", "u", None, "v"]), na="drop")
    np.testing.assert_array_equal(got[:, 0], [1, 4])


def test_dropped_rows_are_counted():
    (samples,) = encode(table(a=[1, NAN, 3]), reading=Reading(na="drop", scale="none"))
    assert samples.origin["dropped"] == {"nan": 1}
    assert samples.origin["rows_used"] == 2


def test_nothing_left_is_an_error():
    with pytest.raises(SampleError, match="p: no row is left"):
        points(table(a=[NAN, 1], b=[1, NAN]), na="drop")


def test_the_mean_is_that_of_the_reference():
    reading = Reading(na="mean", scale="none")
    _, y = encode(table(a=[1, 3, NAN]), table("q", a=[100, NAN]), reading=reading)
    np.testing.assert_array_equal(y.points[:, 0], [100, 2])
    assert codes(y) == ["W22"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": [1, NAN], "b": [1, 2]}, "1 missing value in column 'a' of q.csv"),
        ({"a": [NAN, 1], "b": [NAN, 2]}, "2 missing values in columns 'a', 'b' of q.csv"),
        ({"c": ["u", None], "a": [NAN, 1]}, "2 missing values in columns 'a', 'c' of q.csv"),
        ({"e": [[1, NAN], [NAN, 2]]}, "2 missing values in column 'e' of q.csv"),
    ],
)
def test_what_the_mean_stands_for_is_named(columns, words):
    full = {"a": [1, 3], "b": [1, 2], "c": ["u", "v"], "e": [[1, 2], [3, 4]]}
    x = table(**{name: full[name] for name in columns})
    _, y = encode(x, table("q.csv", **columns), reading=Reading(na="mean", scale="none"))
    assert y.origin["notes"] == [("W22", f"{words} replaced by the mean of the reference")]


def test_what_the_mean_stands_for_in_an_array_is_named_by_position():
    x, y = array([[1.0, 2.0]]), array([[1.0, NAN]], "q.npy")
    _, filled = encode(x, y, reading=Reading(na="mean"))
    assert "in column '1' of q.npy" in filled.origin["notes"][0][1]


def test_the_mean_honours_weights():
    got = points(table(a=[0, 4, NAN], weights=[3, 1, 5]), na="mean")
    np.testing.assert_allclose(got[2, 0], 1.0, rtol=1e-15)


def test_a_missing_category_becomes_the_mean_one_hot_row():
    got = points(table(c=["u", "u", "v", None]), na="mean")
    np.testing.assert_allclose(got[3] * np.sqrt(2), [2 / 3, 1 / 3], rtol=1e-15)


@pytest.mark.parametrize("na", ["mean", "category"])
def test_a_column_without_any_value_has_no_mean(na):
    with pytest.raises(SampleError, match="column 'a' has no value at all"):
        points(table(a=[NAN, NAN], b=[1, 2]), na=na)


def test_category_appends_an_indicator_where_either_side_has_gaps():
    reading = Reading(na="category", scale="none")
    x, y = encode(table(a=[1, 3], b=[1, 2]), table("q", a=[NAN, 5], b=[1, 2]), reading=reading)
    assert x.columns == y.columns == ("a", "b", "a is missing")
    np.testing.assert_array_equal(y.points, [[2, 1, 1], [5, 2, 0]])
    np.testing.assert_array_equal(x.points[:, 2], [0, 0])


def test_category_makes_missing_a_category_of_its_own():
    reading = Reading(na="category", scale="none")
    (x,) = encode(table(c=["missing", None, "u"]), reading=reading)
    assert x.columns == ("c=missing", "c=u", "c is missing")
    np.testing.assert_array_equal(x.points > 0, [[1, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_without_gaps_category_adds_no_column():
    assert points(table(a=[1, 2], c=["u", "u"]), na="category").shape == (2, 2)


# -- categories ---------------------------------------------------------------------------------


def test_two_categories_lie_at_distance_one():
    got = points(table(c=["u", "v", "w"]))
    distances = np.linalg.norm(got[:, None] - got[None], axis=2)
    np.testing.assert_allclose(distances, 1 - np.eye(3), rtol=1e-15)


def test_the_vocabulary_is_joint_and_sorted():
    x, y = encode(table(c=["v"]), table("q", c=["u"]), reading=PLAIN)
    assert x.columns == y.columns == ("c=u", "c=v")


def test_an_unseen_category_is_noted():
    _, y = encode(table(c=["v"]), table("q", c=["u"]), reading=PLAIN)
    assert y.origin["notes"] == [("W23", "column 'c' has a category that p lacks: 'u'")]


def test_categories_may_be_refused():
    with pytest.raises(SampleError, match=r"column 'c' holds categories, .* --categorical onehot"):
        points(table(a=[1], c=["u"]), categorical="error")


def test_identifiers_are_not_spread_over_all_memory():
    names = [f"user{k}" for k in range(2000)]
    with executing(memory=1 << 20), pytest.raises(SampleError, match="'c' has 2000 categories"):
        points(table(c=names))


# -- scaling ------------------------------------------------------------------------------------

VALUES = np.random.default_rng(0).gamma(2.0, size=(200, 3)) * [1, 10, 100]


def scaled(how, weights=None, values=VALUES):
    columns = {f"c{k}": values[:, k] for k in range(values.shape[1])}
    return encode(table(weights=weights, **columns), reading=Reading(scale=how))[0]


def test_ref_sd_divides_by_the_standard_deviation():
    got = scaled("ref-sd").points
    np.testing.assert_allclose(got, VALUES / VALUES.std(axis=0), rtol=1e-13)


def test_ref_iqr_divides_by_the_interquartile_range():
    low, high = np.quantile(VALUES, [0.25, 0.75], axis=0)
    np.testing.assert_allclose(scaled("ref-iqr").points, VALUES / (high - low), rtol=1e-13)


def test_ref_whiten_gives_mean_zero_and_unit_covariance():
    got = scaled("ref-whiten").points
    np.testing.assert_allclose(got.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(np.cov(got.T, bias=True), np.eye(3), atol=1e-12)


@pytest.mark.parametrize("how", ["ref-sd", "ref-iqr", "ref-whiten"])
def test_equal_weights_scale_as_no_weights(how):
    np.testing.assert_allclose(
        scaled(how, np.full(200, 7.0)).points, scaled(how).points, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("how", ["ref-sd", "ref-iqr", "ref-whiten"])
def test_rows_without_weight_do_not_count(how):
    weights = np.r_[np.ones(150), np.zeros(50)]
    np.testing.assert_allclose(
        scaled(how, weights).points[:150],
        scaled(how, values=VALUES[:150]).points,
        rtol=1e-10,
        atol=1e-12,
    )


def test_weights_that_repeat_rows_scale_as_repeated_rows():
    weights = np.random.default_rng(1).integers(1, 4, 200)
    repeated = np.repeat(VALUES, weights, axis=0)
    np.testing.assert_allclose(
        scaled("ref-sd", weights).points.std(axis=0),
        VALUES.std(axis=0) / repeated.std(axis=0),
        rtol=1e-12,
    )


def test_weighted_quartiles_follow_the_weighted_distribution():
    values = np.linspace(0, 1, 2001)[:, None]
    weights = values[:, 0] ** 2  # the distribution function is x cubed
    exact = 0.75 ** (1 / 3) - 0.25 ** (1 / 3)
    got = scaled("ref-iqr", weights, values).points
    np.testing.assert_allclose(got[-1, 0], 1 / exact, rtol=2e-3)


@pytest.mark.parametrize("how", ["ref-sd", "ref-iqr", "ref-whiten"])
def test_the_candidate_does_not_move_the_scale(how):
    x = table(a=VALUES[:, 0])
    alone = encode(x, reading=Reading(scale=how))[0].points
    beside = encode(x, table("q", a=VALUES[:, 2]), reading=Reading(scale=how))[0].points
    np.testing.assert_array_equal(alone, beside)


def test_zero_iqr_falls_back_to_the_standard_deviation():
    values = [0.0] * 9 + [10.0]
    (x,) = encode(table(x=values), reading=Reading(scale="ref-iqr"))
    np.testing.assert_allclose(x.points[:, 0], np.array(values) / 3, rtol=1e-15)
    assert x.origin["notes"] == [
        ("W20", "column 'x' has zero IQR in the reference; scaled by its standard deviation")
    ]


@pytest.mark.parametrize("how", ["ref-sd", "ref-iqr"])
def test_a_constant_column_is_left_as_it_is(how):
    (x,) = encode(table(x=[0.1, 0.1, 0.1]), reading=Reading(scale=how))
    np.testing.assert_array_equal(x.points[:, 0], [0.1, 0.1, 0.1])
    assert codes(x) == ["W21"]


def test_one_hot_columns_are_not_scaled():
    (x,) = encode(table(a=[1, 2, 3], c=["u", "v", "u"]), reading=Reading(scale="ref-sd"))
    np.testing.assert_array_equal(np.unique(x.points[:, 1:]), [0, np.sqrt(0.5)])


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"a": [1, 2, 3], "b": [5, 5, 5]}, "column 'b' is constant"),
        ({"a": [1, 2, 4, 9], "b": [2, 4, 8, 18]}, "column 'b' follows from those before it"),
        ({"e": [[1, 2, 3], [3, 1, 2]]}, r"column 'e\[1\]' follows from"),
    ],
)
def test_a_singular_covariance_is_inconclusive(columns, why):
    with pytest.raises(InconclusiveError, match=why):
        encode(table(**columns), reading=Reading(scale="ref-whiten"))


@pytest.mark.parametrize(
    ("source", "how"),
    [
        (table(a=[1, 2]), "ref-iqr"),
        (table(a=[1, 2], e=[[1, 2], [3, 4]]), "ref-iqr"),
        (table(e=[[1, 2], [3, 4]]), "none"),
        (array([[1.0], [2.0]]), "none"),
    ],
)
def test_the_automatic_scale_depends_on_the_reference(source, how):
    assert encode(source, reading=Reading())[0].origin["scale"] == how


def test_a_scale_that_overflows_is_refused():
    reading = Reading(scale="ref-sd")
    with pytest.raises(SampleError, match=r"q: column 'a' is too large .* --scale none"):
        encode(table(a=[0, 1e-300]), table("q", a=[0, 1e300]), reading=reading)


def test_huge_values_have_a_standard_deviation():
    got = encode(table(a=[-1e200, 1e200]), reading=Reading(scale="ref-sd"))[0].points
    np.testing.assert_allclose(got[:, 0], [-1, 1], rtol=1e-15)


def test_scaling_leaves_the_table_alone():
    x = table(a=[1.0, NAN, 3.0])
    encode(x, reading=Reading(na="mean", scale="ref-sd"))
    np.testing.assert_array_equal(x.numbers[:, 0], [1, NAN, 3])


# -- one reference, many candidates -------------------------------------------------------------


def test_the_reference_is_one_object_for_all_plain_candidates():
    encoder = Encoder(table(a=[1, 2], c=["u", "v"]), Reading())
    first, _ = encoder.candidate(table("q", a=[3, 4], c=["v", "v"]))
    second, _ = encoder.candidate(table("r", a=[5, 6], c=["u", "v"]))
    assert first is second is encoder.reference


def test_an_unseen_category_widens_a_copy():
    encoder = Encoder(table(a=[1, 2], c=["u", "v"]), PLAIN)
    wide, candidate = encoder.candidate(table("q", a=[3], c=["w"]))
    assert wide is not encoder.reference
    assert wide.d == candidate.d == encoder.reference.d + 1


def test_candidates_with_the_same_news_share_the_wider_reference():
    encoder = Encoder(table(c=["u", "v"]), PLAIN)
    first, _ = encoder.candidate(table("q", c=["w"]))
    second, _ = encoder.candidate(table("r", c=["w", "u"]))
    assert first is second


def test_a_gap_in_the_candidate_widens_a_copy():
    encoder = Encoder(table(a=[1, 2]), Reading(na="category", scale="none"))
    wide, candidate = encoder.candidate(table("q", a=[NAN]))
    assert encoder.reference.columns == ("a",)
    assert wide.columns == candidate.columns == ("a", "a is missing")


def test_the_widening_leaves_distances_in_the_reference_alone():
    encoder = Encoder(table(a=[1, 2, 4], c=["u", "v", "u"]), Reading())
    wide, _ = encoder.candidate(table("q", a=[3], c=["w"]))
    gaps = [np.linalg.norm(s.points[0] - s.points[1]) for s in (wide, encoder.reference)]
    assert gaps[0] == gaps[1]


def test_encoding_pairs_and_all_at_once_agree():
    x, y = table(a=[1, 2, 4], c=["u", "v", "u"]), table("q", a=[3], c=["w"])
    pair = Encoder(x, Reading()).candidate(y)
    together = encode(x, y, reading=Reading())
    for one, other in zip(pair, together, strict=True):
        assert one.points.tobytes() == other.points.tobytes()


def test_plain_numbers_are_not_copied():
    block = np.random.default_rng(0).normal(size=(5, 2))
    (x,) = encode(array(block), reading=Reading())
    assert np.shares_memory(x.points, block)


MIXED = st.lists(
    st.tuples(st.floats(-1e6, 1e6), st.sampled_from(["u", "v", "w"])), min_size=1, max_size=8
)


@settings(max_examples=50, deadline=None)
@given(rows=MIXED, others=MIXED)
def test_points_are_finite_in_c_order_and_of_equal_width(rows, others):
    x = table(a=[a for a, _ in rows], c=[c for _, c in rows])
    y = table("q", a=[a for a, _ in others], c=[c for _, c in others])
    try:
        encoded = encode(x, y, reading=Reading())
    except DivmatchError:
        return
    for samples in encoded:
        assert samples.points.dtype == np.float64
        assert samples.points.flags.c_contiguous
        assert np.isfinite(samples.points).all()
        assert samples.d == len(samples.columns) == encoded[0].d


# -- what the record says -----------------------------------------------------------------------


def test_the_fingerprint_names_its_algorithm():
    name, digits = fingerprint(as_samples([1.0, 2.0], "x")).split(":")
    assert name == "blake2b"
    assert len(digits) == 16


@pytest.mark.parametrize(
    "other",
    [
        as_samples([1.0, 2.0, 3.0, 5.0], "x"),
        as_samples([[1.0, 2.0], [3.0, 4.0]], "x"),
        as_samples([1.0, 2.0, 3.0, 4.0], "x", [1, 1, 1, 2]),
    ],
)
def test_the_fingerprint_sees_values_shape_and_weights(other):
    assert fingerprint(as_samples([1.0, 2.0, 3.0, 4.0], "x")) != fingerprint(other)


def test_the_fingerprint_ignores_names():
    x, y = (as_samples([1.0, 2.0], name) for name in "xy")
    assert fingerprint(x) == fingerprint(y)


def test_input_info_follows_the_schema():
    x = table(a=[1, 2, NAN], c=["u", "v", "u"], weights=[1, 3, 1])
    object.__setattr__(x, "weights_from", "w")
    (samples,) = encode(x, reading=Reading(na="drop"))
    info = json.loads(json.dumps(input_info(samples, "p")))
    assert info.pop("fingerprint") == fingerprint(samples)
    assert info.pop("ess") == pytest.approx(1.6, rel=1e-15)
    assert info == {
        "role": "p",
        "name": "p",
        "kind": "parquet",
        "rows": 3,
        "cols": 2,
        "rows_used": 2,
        "dropped": {"nan": 1},
        "weights": "w",
    }


def test_input_info_of_an_array_from_python():
    info = input_info(Samples(np.ones((3, 2))), "q")
    assert (info["rows"], info["cols"], info["dropped"], info["ess"]) == (3, 2, {}, None)
    assert "kind" not in info


def test_values_gives_columns_by_name():
    x = table(a=[1, 2], c=["u", "v"], e=[[3, 4], [5, 6]])
    assert x.names == ("a", "c", "e")
    assert x.values("a").tolist() == [1, 2]
    assert x.values("c").tolist() == [0, 1]
    assert x.values("e").tolist() == [[3, 4], [5, 6]]


def test_values_of_an_unknown_name_is_refused():
    with pytest.raises(FileError, match="column 'b' not found"):
        table(a=[1]).values("b")
