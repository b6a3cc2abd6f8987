"""A record of a table is a row, a cell is a string as it was written, and nothing merges rows."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from georep_utils.data.tables import columns, read_cells, table_format
from georep_utils.io import UserError

AS_WRITTEN = ["NA", "null", "1e5", "007", "nan", " padded ", "True", "-", "ünï", '"', "x\x00y"]
FUZZ = settings(max_examples=300, deadline=None)
NASTY = st.text(
    st.sampled_from(list(",;\t\n\r\"'\\ #|äx0") + ["\u2028", "\x85", "\x0b", "\x1c", "\ufeff"])
)


def write(folder, content, name):
    path = folder / name
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def cells_of(path):
    frame = read_cells(path)
    return list(frame.columns), frame.to_numpy().tolist()


def as_csv(rows, **options) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, **options).writerows(rows)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


# ---------------------------------------------------------------------------------- what is written


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "A.CSV", "a.csv.gz", "a.jsonl.gz"])
def test_every_cell_is_the_string_that_was_written(tmp_path, name):
    if ".tsv" in name:
        content = "text\tlabel\n" + "".join(f"{cell}\tx\n" for cell in AS_WRITTEN)
    elif ".jsonl" in name:
        content = "".join(json.dumps({"text": c, "label": "x"}) + "\n" for c in AS_WRITTEN)
    else:
        content = as_csv([["text", "label"], *([cell, "x"] for cell in AS_WRITTEN)])
    names, rows = cells_of(write(tmp_path, content, name))
    assert names == ["text", "label"]
    assert rows == [[cell, "x"] for cell in AS_WRITTEN]


def test_json_values_that_are_no_strings_keep_their_spelling(tmp_path):
    line = '{"a": 1e5, "b": 0.10, "c": 12345678901234567890123, "d": true, "e": null, "f": NaN}'
    _, rows = cells_of(write(tmp_path, line + '\n\n{"a": -0}\n', "a.jsonl"))
    assert rows[0] == ["1e5", "0.10", "12345678901234567890123", "true", "", "NaN"]
    assert rows[1] == ["-0", "", "", "", "", ""]


@FUZZ
@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(NASTY, min_size=n, max_size=n))))
def test_a_csv_file_comes_back_cell_by_cell(folder, rows):
    n_columns = len(rows[0]) if rows else 2
    header = [f"column {i}" for i in range(n_columns)]
    quoted = {"quoting": csv.QUOTE_ALL, "lineterminator": "\n"}
    for options in ({"lineterminator": "\r\n"}, quoted):
        path = write(folder, as_csv([header, *rows], **options), "x.csv")
        assert cells_of(path) == (header, rows)


@FUZZ
@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2)))
def test_a_tsv_file_comes_back_cell_by_cell(folder, rows):
    rows = [[cell.translate(dict.fromkeys(b"\t\r\n")) for cell in row] for row in rows]
    content = "".join(f"{first}\t{second}\n" for first, second in [["a", "b"], *rows])
    assert cells_of(write(folder, content, "x.tsv")) == (["a", "b"], rows)


@FUZZ
@given(st.lists(st.dictionaries(st.sampled_from("abc"), NASTY), min_size=1))
def test_a_jsonl_file_comes_back_cell_by_cell(folder, rows):
    path = write(folder, "\n".join(map(json.dumps, rows)), "x.jsonl")
    names, cells = cells_of(path)
    assert len(cells) == len(rows)
    for row, came in zip(rows, cells, strict=True):
        assert came == [row.get(name, "") for name in names]


def test_two_stray_quotes_in_a_tsv_file_merge_no_rows(tmp_path):
    lines = ['"a quote that nobody closes', "b", 'c" and one', 'd "quoted" word', "e", "f"]
    content = "sentence\tlabel\n" + "".join(f"{line}\t{i % 2}\n" for i, line in enumerate(lines))
    _, rows = cells_of(write(tmp_path, content, "train.tsv"))
    assert rows == [[line, str(i % 2)] for i, line in enumerate(lines)]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_known_and_empty_lines_count_for_nothing(tmp_path, ending):
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        lines = ["a b", "1 2", "", "3 4", "", ""]
        content = ending.join(line.replace(" ", separator) for line in lines)
        assert cells_of(write(tmp_path, content, name)) == (["a", "b"], [["1", "2"], ["3", "4"]])


def test_a_cell_may_be_longer_than_the_csv_module_likes(tmp_path):
    long = "x" * 1_000_000
    before = csv.field_size_limit()
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        path = write(tmp_path, f"text{separator}label\n{long}{separator}y\n", name)
        assert cells_of(path)[1] == [[long, "y"]]
    assert csv.field_size_limit() == before


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv", "", "has no first line"),
        ("a.csv", "\n\n", "has no first line"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "line 3 has another number of cells .*, 3 instead of 2"),
        ("a.csv", "a,b\n1,2\n1\n", "line 3 has another number of cells .*, 1 instead of 2"),
        ("a.csv", 'a,b\n"1\n\n",2\n1\n', "line 5 has another number"),
        ("a.tsv", "a\tb\n1\t2\t3\n", "line 2 has another number"),
        ("a.csv", "a,b,a\n1,2,3\n", "two columns 'a'"),
        ("a.tsv", "a\ta\n1\t2\n", "two columns 'a'"),
        ("a.jsonl", '{"a": 1, "a": 2}\n', "two columns 'a'"),
        ("a.csv", 'a,b\n"never closed,2\n3,4\n', "line [34] can't be read"),
        ("a.csv", 'a,b\n"1"2,3\n', "line 2 can't be read"),
        ("a.csv", "a\none\rrow\n", "line 2 can't be read"),
        ("a.tsv", "a\none\rrow\n", "line 2 can't be read"),
        ("a.jsonl", '{"a": \n', "line 1 is no JSON object"),
        ("a.jsonl", "5\n", "line 1 is no JSON object"),
        ("a.jsonl", '{"a": "b"}\n' + "[" * 200_000, "line 2 is no JSON object"),
        ("a.jsonl", '{"a": ' * 200_000, "line 1 is no JSON object"),
        ("a.jsonl", '{"a": ' + "[" * 900 + "]" * 900 + "}" + "\n5", "line 2 is no JSON object"),
        ("a.csv", b"a,b\n\xff,2\n", "can't be read as text"),
        ("a.xlsx", "x", "is not a table; expected a name that ends in .csv, .tsv, .jsonl"),
    ],
)
def test_a_faulty_table_is_named_with_its_line(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message) as error:
        read_cells(write(tmp_path, content, name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content, name, message",
    [
        ("text,mood\nfine,good\n", "label", "row 1 has no 'label'; its columns are text, mood"),
        ("text,label\nfine,good\nfine,\n", "label", "row 2 has no 'label'"),
        ("text,label\nfine,good\nfine, \n", "label", "row 2 has no 'label'"),
        ("text,label\nfine,good\n", ["label"], "has no"),
        ("text,label\nfine,good\n", 5, "has no 5"),
    ],
)
def test_a_column_that_is_missing_or_has_an_empty_cell_is_named(tmp_path, content, name, message):
    path = write(tmp_path, content, "a.csv")
    with pytest.raises(UserError, match=message) as error:
        columns(read_cells(path), {"label": name}, path)
    assert "\n" not in str(error.value)
    asked = columns(read_cells(path), {"input": "text", "label": None}, path)
    assert set(asked) == {"input"} and set(asked["input"]) == {"fine"}


def test_half_a_character_is_refused(tmp_path):
    path = write(tmp_path, '{"text": "\\ud800"}', "a.jsonl")
    with pytest.raises(UserError, match="row 1 has half a character in 'text'"):
        columns(read_cells(path), {"input": "text"}, path)


def test_formats_are_told_by_the_name(tmp_path):
    names = {"a.csv": "csv", "a.b.TSV": "tsv", "a.jsonl.gz": "jsonl", "a.parquet": "parquet"}
    for name, expected in names.items():
        assert table_format(tmp_path / name) == expected
    for name in ("a.txt", "csv", "a.csv.zip", "a.gz", ".csv.d"):
        assert table_format(tmp_path / name) != "csv" or name == "csv"


def test_a_parquet_file_needs_pyarrow_and_says_so(tmp_path):
    path = write(tmp_path, b"PAR1 no parquet PAR1", "a.parquet")
    with pytest.raises(UserError, match="a.parquet can't be read"):
        read_cells(path)
    pa = pytest.importorskip("pyarrow", exc_type=ImportError)
    import pyarrow.parquet

    table = pa.table({"text": AS_WRITTEN[:2], "number": [7, None], "x": [0.5, float("nan")]})
    pyarrow.parquet.write_table(table, path)
    assert cells_of(path)[1] == [["NA", "7", "0.5"], ["null", "", ""]]


SAMPLES = {
    "x.csv": 'text,label\n"a ""b"", c",1\nd,2\n',
    "x.tsv": "text\tlabel\na\t1\nb\t2\n",
    "x.jsonl": '{"text": "a", "label": [1, {"b": 2}]}\n{"text": "c", "label": 1e5}\n',
}
CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3)), max_size=6)


@FUZZ
@given(st.sampled_from(list(SAMPLES)), CHANGES, st.booleans())
def test_any_damage_is_one_line_or_harmless(folder, name, changes, packed):
    spoilt = bytearray(SAMPLES[name].encode())
    for place, piece in changes:
        start = place % (len(spoilt) + 1)
        spoilt[start : start + 1] = piece
    path = write(folder, bytes(spoilt), f"{name}.gz" if packed else name)
    try:
        cells = read_cells(path)
        columns(cells, {"input": "text", "label": "label"}, path)
    except UserError as error:
        assert "\n" not in str(error)
