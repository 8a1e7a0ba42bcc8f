"""Tables from anywhere: what pandas reads is what was written, and what is wrong is said with file, line, column and cell."""

import gzip
import zipfile

import numpy as np
import pytest

from keras_gates.edge.tables import read_table
from keras_gates.edge.tflite import EdgeError

pandas = pytest.importorskip("pandas", reason="tables need the extra `files`")


def table_of(tmp_path, content, name="mine.csv", **options):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(tmp_path / name, **options)


@pytest.mark.slow
def test_a_workbook_with_a_damaged_row_number_is_not_read_for_hours(tmp_path):
    pandas.DataFrame({"v": [1, 2, 3]}).to_excel(tmp_path / "good.xlsx", index=False)
    with zipfile.ZipFile(tmp_path / "good.xlsx") as good, zipfile.ZipFile(tmp_path / "mine.xlsx", "w") as damaged:
        for name in good.namelist():
            damaged.writestr(name, good.read(name).replace(b'<row r="3">', b'<row r="99999999999">'))
    with pytest.raises(EdgeError, match=r"mine\.xlsx is damaged: it has more than the 1,048,576 rows"):
        read_table(tmp_path / "mine.xlsx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"text,label\n", "a header but no rows"),
        (b"text,text,label\nhello,x,a\n", "'text' more than once"),
        (b"text,label\nhello,a,b\n", "line 2: 3 cells where the first line has 2"),
        (b'text,label\n"two\nlines",a\nhello,a,b\n', "line 4: 3 cells"),
        (b'text,label\nhello,a\n"never closed,b\nc,d\n', "line 3: a quotation mark is opened and never closed"),
        (b"text,label\nhe\0llo,a\n", "line 2: a zero byte"),
        (b"PK\x03\x04rest", "an Excel or zip file"),
        (b"\x1f\x8brest", "damaged gzip"),
        (b"0.1,0.2,walk\n0.3,0.4,rest\n", "no column 'label'; its columns are: 0.1, 0.2, walk"),
        (b"0.1,0.2\n0.3,0.4\n", "no header line: it starts with 0.1, 0.2"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(tmp_path, content, message):
    required = ("label",) if b"walk" in content else ()
    with pytest.raises(EdgeError, match=r"mine\.csv") as error:
        table_of(tmp_path, content, required=required)
    assert message in str(error.value)


def test_cells_hold_any_text(tmp_path):
    texts = [
        "a" * 200_000,
        "one\u2028two\u2029three\u0085four\x0cfive",
        'said "no"',
        "a;b,c\td",
        "line\nbreak",
        "x\u00a0y",
    ]
    frame = pandas.DataFrame({"text": texts, "label": list("abcdef")})
    for separator in ",;\t":
        frame.to_csv(tmp_path / "mine.csv", sep=separator, index=False)
        table = read_table(tmp_path / "mine.csv")
        assert table.frame["text"].tolist() == texts
        assert table.texts("text")[-1] == "x y"


def test_every_kind_of_file_holds_the_same_table(tmp_path):
    frame = pandas.DataFrame({"text": ["größer", "naïve"], "value": [1.25, -3.0]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "index.csv")  # with an index, whose column has no name
    frame.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    frame.to_csv(tmp_path / "german.csv", sep=";", decimal=",", index=False, encoding="cp1252")
    frame.to_csv(tmp_path / "wide.csv", index=False, encoding="utf-16")
    frame.to_csv(tmp_path / "a.csv.gz", index=False)
    (tmp_path / "marked.csv").write_bytes(frame.to_csv(index=False).encode("utf-8-sig").replace(b"\n", b"\r\n"))
    names = ["a.csv", "index.csv", "a.tsv", "german.csv", "wide.csv", "a.csv.gz", "marked.csv"]
    for name, write, engine in (("a.parquet", "to_parquet", "pyarrow"), ("a.xlsx", "to_excel", "openpyxl")):
        try:
            getattr(frame, write)(tmp_path / name, index=False)
            names.append(name)
        except ImportError:
            assert engine in ("pyarrow", "openpyxl")
    for name in names:
        table = read_table(tmp_path / name, required=("text", "value"))
        assert (table.names, table.texts("text")) == (["text", "value"], ["größer", "naïve"]), name
        np.testing.assert_array_equal(table.numbers("value"), [1.25, -3.0])
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).decode() == (tmp_path / "a.csv").read_text("utf-8")


def test_empty_rows_and_unnamed_columns_are_left_out_and_said(tmp_path):
    table = table_of(tmp_path, "a,b,\n1,2,\n\n,,\n3,4,\n,,\n")
    assert table.names == ["a", "b"]
    np.testing.assert_array_equal(table.numbers("a"), [1, 3])
    assert table.notes == ["3 empty rows left out"]
    assert "has no name" in " ".join(table_of(tmp_path, ",a\n0,5\n1,6\n").notes)


def test_a_separator_inside_a_quoted_unit_does_not_count(tmp_path):
    assert table_of(tmp_path, 'time,"speed (m/s; m; h; x)"\n1,2\n').names == ["time", "speed (m/s; m; h; x)"]


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("v;w\n1,5;1\n1.234,5;2\n-2;3\n", [1.5, 1234.5, -2]),
        ('v,w\n"1,234",1\n"2,345,678.5",2\n7,3\n', [1234, 2345678.5, 7]),
        ('v,w\n"1,5",1\n"2,75",2\n7,3\n', [1.5, 2.75, 7]),
        ("v;w\n1e-3;1\n+4;2\n\u00a05 ;3\n", [1e-3, 4, 5]),
    ],
)
def test_numbers_with_commas(tmp_path, content, values):
    np.testing.assert_array_equal(table_of(tmp_path, content).numbers("v"), values)


@pytest.mark.parametrize("cell", ["high", "", "nan", "inf", "1.5,3"])
def test_a_cell_that_is_no_number_is_named_by_its_line(tmp_path, cell):
    table = table_of(tmp_path, f'note,v\n"two\nlines",1\nx,"{cell}"\n')
    with pytest.raises(EdgeError, match=r"mine\.csv, line 4, column 'v': .* is not a number"):
        table.numbers("v")
    with pytest.raises(EdgeError, match=r"line 2, column 'text': the cell is empty"):
        table_of(tmp_path, "text,label\n ,a\n").texts("text")


def test_a_cell_of_a_sheet_is_named_by_its_row(tmp_path):
    pytest.importorskip("openpyxl", reason="writes the sheet")
    pandas.DataFrame({"v": [1, 2, "high"]}).to_excel(tmp_path / "mine.xlsx", index=False)
    with pytest.raises(EdgeError, match=r"mine\.xlsx, row 4, column 'v': .* is not a number"):  # row 1 has the names
        read_table(tmp_path / "mine.xlsx", required=("v",)).numbers("v")


def test_letters_of_old_encodings_are_read_and_said(tmp_path):
    table = table_of(tmp_path, "temp °C;x\n1;2\n".encode("cp1252"))
    assert table.names == ["temp °C", "x"]
    assert "read as cp1252" in table.notes[0]
    russian = "text;label\n" + "Это длинное предложение на русском языке, чтобы было что считать;да\n" * 3
    assert table_of(tmp_path, russian.encode("cp1251")).texts("label") == ["да"] * 3


def test_a_plain_table_has_no_notes(tmp_path):
    assert table_of(tmp_path, "a,b\n0,5\n1,6\n").notes == []
