"""The benchmark of the kernels runs at toy size, and its table holds what it promises to hold."""

import json

import pytest

from forebay.bench.kernels import main


def test_the_table_names_each_kernel_with_its_reference_and_the_bandwidth(capsys, tmp_path):
    found = main(["--quick", "--json", str(tmp_path / "k.json")])
    assert json.loads((tmp_path / "k.json").read_text()) == found
    names = [one["name"] for one in found["kernels"]]
    assert "Log1p float32" in names and "ShiftTokens, shuffled rows of 2,048" in names
    assert {one["reference"] for one in found["kernels"]} == {
        "numpy",
        "numpy, out=",
        "scikit-learn",
        "pyarrow",
        "forebay, unfused",
    }
    assert all(one["times_reference"] > 0 and one["share_of_bandwidth"] > 0 for one in found["kernels"])
    text = capsys.readouterr().out
    assert "of the bandwidth" in text and "at a copy" in text


def test_the_memorys_limit_is_what_a_copy_of_as_many_bytes_would_be():
    for one in main(["--rows", str(1 << 15), "--rounds", "1"])["kernels"]:
        assert one["at_copy_speed"] == pytest.approx(one["times_reference"] / one["share_of_bandwidth"])
