"""The check notices what a loader may do wrong."""

import importlib

import numpy as np
import pytest
import torch

from forebay.bench.exactly_once import check, contract_faults, count_faults
from forebay.bench.job import Job, PerEpoch

WORKLOAD = importlib.import_module("forebay.bench.workloads.python")


@pytest.fixture
def data(tmp_path):
    made = tmp_path / "python-8"
    made.mkdir()
    return made


def batch(numbers, dtype=torch.float32):
    ids = torch.tensor(numbers)
    return torch.broadcast_to(ids[:, None], (len(numbers), 16)).to(dtype), ids


def checked(data, *batches):
    job = Job(workload="python", peer="none", mode="check", data=str(data), prepared="")
    return check(job, WORKLOAD, PerEpoch(lambda number: iter(batches)))


def test_a_right_loader_passes(data):
    assert checked(data, batch([3, 1, 0, 2]), batch([7, 6, 5, 4])) == {
        "exactly_once": True,
        "values": True,
        "faults": [],
    }


def test_missing_and_repeated_samples_are_counted(data):
    found = checked(data, batch([0, 1, 2, 3]), batch([4, 5, 5, 5]))
    assert not found["exactly_once"]
    assert found["faults"][:2] == [
        "epoch 0: 2 of 8 samples missing",
        "epoch 0: 1 of 8 samples more than once",
    ]


def test_wrong_values_are_told(data):
    arrays, ids = batch(list(range(8)))
    found = checked(data, (arrays + 1, ids))
    assert found["exactly_once"]
    assert not found["values"]
    assert found["faults"][0] == "sample 0 differs from the data set's"


def test_ids_that_do_not_exist_are_told():
    assert count_faults(np.array([0, 1, 2, 9]), 3) == ["1 samples with ids that do not exist"]


def test_another_type_is_told():
    assert contract_faults(WORKLOAD, batch([1], torch.float64), 32) == [
        "arrays is torch.float64 (1, 16); expected float32 (32, *(16,))"
    ]
