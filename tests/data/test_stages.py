"""Camelyon17's label and submission files."""

from __future__ import annotations

import pytest

from fastwsi.data.camelyon17 import patient_stages, read_stages
from fastwsi.slides import SlideError


@pytest.fixture
def table(tmp_path):
    def write(text, name="submission.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


EXPECTED = {"patient_000": "pN0(i+)", "patient_000_node_0": "itc", "patient_100_node_4": "negative"}


@pytest.mark.parametrize(
    "text",
    [
        "patient,stage\npatient_000.zip,pN0(i+)\npatient_000_node_0.tif,itc\npatient_100_node_4.tif,negative\n",
        "patient_000,pN0(i+)\npatient_000_node_0,itc\npatient_100_node_4,negative",  # bare
        (
            "\ufeffName;Label\r\nPatient_000.ZIP;PN0 (I+)\r\n\r\npatient_000_node_0.TIFF;ITC\r\n"
            "patient_100_node_4.tif; Negative \r\n"
        ),
        (
            "patient_000.zip,pN0(i+),0.9\npatient_000_node_0.tif,itc\npatient_000_node_0.tif,ITC\n"
            "patient_100_node_4.tif,negative,,\n"
        ),
    ],
)
def test_forms(table, text):
    found = read_stages(table(text))
    assert found == EXPECTED
    assert list(found) == list(EXPECTED)
    assert read_stages(str(table(text))) == EXPECTED


def test_all_stages(table):
    patients = {f"patient_{i:03d}": s for i, s in enumerate(["pN0", "pN0(i+)", "pN1mi", "pN1", "pN2"])}
    nodes = {f"patient_000_node_{i}": s for i, s in enumerate(["negative", "itc", "micro", "macro"])}
    rows = [f"{name},{stage.upper()}" for name, stage in (patients | nodes).items()]
    assert read_stages(table("\n".join(rows))) == patients | nodes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "patient,stage\npatient_000.zip,pN3\n",
            r"row 2, patient_000.zip: got the stage 'pN3', expected one of pN0",
        ),
        ("patient_000.zip\n", "row 1, patient_000.zip: got the stage ''"),
        ("patient_000.zip,negative\n", "got the stage 'negative', expected one of pN0, pN0"),
        ("patient_000_node_1.tif,pN0\n", "got the stage 'pN0', expected one of negative, itc, micro, macro"),
        ("patient,stage\npatient_00.zip,pN0\n", "row 2: got the name 'patient_00.zip', expected one such as"),
        ("pateint_000.zip,pN0\n", "row 1: got the name 'pateint_000.zip'"),  # no header: it has a stage
        ("patient_000.zip,pN0\npatient,stage\n", "row 2: got the name 'patient'"),
        (
            "patient_000.zip,pN0\npatient_000,pN1\n",
            "row 2, patient_000: got pN1, expected pN0 as in a row above",
        ),
        ("patient,stage\n", "no stages"),
        ("", "no stages"),
    ],
)
def test_errors_name_file_and_row(table, text, message):
    path = table(text)
    with pytest.raises(SlideError, match=message) as error:
        read_stages(path)
    assert str(path) in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(SlideError, match="nowhere"):
        read_stages(tmp_path / "nowhere.csv")
    with pytest.raises(SlideError):
        read_stages(tmp_path)


def test_those_of_a_data_set_are_read_alike(table, tmp_path):
    table("patient_000.zip,pN1\npatient_000_node_0.tif,macro\n", "stages.csv")
    assert patient_stages(tmp_path) == {"patient_000": "pN1"}
    table("patient_000.zip,pN1\npatient_000.zip,pN2\n", "stages.csv")
    with pytest.raises(SlideError, match=r"row 2, patient_000\.zip"):
        patient_stages(tmp_path)
