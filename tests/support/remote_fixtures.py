"""A real S3 server for the tests of a module, a proxy before it that makes faults, and a data set on it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.fault_proxy import FaultProxy
    from support.s3_server import S3Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[S3Server]":
    from support.remote_sets import running

    with running(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def proxy(server: "S3Server") -> "Iterator[FaultProxy]":
    from support.fault_proxy import FaultProxy

    made = FaultProxy(server.port)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def prepared(server: "S3Server", tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Path in the bucket, by format."""
    from support.remote_sets import prepare

    return prepare(server, tmp_path_factory.mktemp("raw"))
