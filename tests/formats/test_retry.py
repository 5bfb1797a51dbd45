"""What may pass is tried again for a while; what cannot is not."""

import errno

import pytest

from forebay.formats.errors import SpecError, StorageError
from forebay.formats.retry import RetryPolicy, transient, with_retries


def failing(times: int, error: OSError) -> tuple[list[int], object]:
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "done"

    return calls, call


def test_a_fault_that_passes_is_not_seen() -> None:
    waits: list[float] = []
    calls, call = failing(4, OSError("AWS Error SLOW_DOWN during GetObject operation (HTTP status 503)"))
    assert with_retries(call, RetryPolicy(first=0.1, longest=0.3), sleep=waits.append) == "done"  # type: ignore[arg-type]
    assert len(calls) == 5
    assert all(0 <= wait <= bound for wait, bound in zip(waits, [0.1, 0.2, 0.3, 0.3], strict=True))


def test_a_refusal_is_told_at_once() -> None:
    calls, call = failing(9, OSError("AWS Error ACCESS_DENIED during HeadObject operation"))
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        with_retries(call, RetryPolicy())  # type: ignore[arg-type]
    assert len(calls) == 1


def test_patience_ends() -> None:
    calls, call = failing(99, OSError("AWS Error NETWORK_CONNECTION"))
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        with_retries(call, RetryPolicy(first=0.01, longest=0.01, patience=0.1))  # type: ignore[arg-type]
    assert len(calls) > 1


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OSError("AWS Error UNKNOWN (HTTP status 503) during GetObject"), True),
        (OSError("AWS Error UNKNOWN (HTTP status 429) during GetObject"), True),
        (OSError("AWS Error UNKNOWN (HTTP status 411) during PutObject"), False),
        (OSError("AWS Error SIGNATURE_DOES_NOT_MATCH during ListObjectsV2"), False),
        (FileNotFoundError("without a number"), False),
        (FileNotFoundError(errno.ENOENT, "No such file"), False),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (StorageError("judged already"), False),
    ],
)
def test_faults_are_told_apart(error: OSError, again: bool) -> None:
    assert transient(error) is again


def test_wrong_policies_are_refused() -> None:
    with pytest.raises(SpecError, match="patience is -1; expected seconds"):
        RetryPolicy(patience=-1)
