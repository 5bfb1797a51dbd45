"""Retries: which errors of a store are worth another try, how long to wait, and when to give up.

Waiting is exponential with full jitter: a random time between 0 and the bound, so that a thousand ranks that met the
same fault do not come back together (M. Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015).
"""

import errno
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from forebay.formats.errors import SpecError, StorageError

Result = TypeVar("Result")

_FINAL_WORDS = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|INVALID_SIGNATURE|MISSING_AUTHENTICATION|UNRECOGNIZED_CLIENT"
    r"|INVALID_CLIENT_TOKEN|NO_SUCH_BUCKET|NO_SUCH_KEY|RESOURCE_NOT_FOUND|EXPIRED_TOKEN|not authorized|forbidden"
    r"|HTTP status 4(?!08|25|29)\d\d",
    re.IGNORECASE,
)
"""What pyarrow's S3, GCS and Azure errors say when asking again cannot help: 4xx but for 408, 425 and 429."""

_FINAL_ERRNOS = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENOSPC, errno.EROFS)
_FINAL_KINDS = (
    StorageError,
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)
"""Judged already, or of a kind that file systems over fsspec raise without a number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How hard to try."""

    first: float = 0.1
    """Seconds: bound of the first wait. It doubles with each try."""
    longest: float = 5.0
    """Seconds: no wait is longer."""
    patience: float = 60.0
    """Seconds from the first failure to the end: long enough for a server to come back from a restart."""

    def __post_init__(self) -> None:
        for name in ("first", "longest", "patience"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} is {getattr(self, name)}; expected seconds, 0 or more")


def transient(error: OSError) -> bool:
    """Whether the same request may succeed later: everything but a refusal, a missing object and a full disk."""
    if isinstance(error, _FINAL_KINDS):
        return False
    return error.errno not in _FINAL_ERRNOS and not _FINAL_WORDS.search(str(error))


def with_retries(
    call: Callable[[], Result], policy: RetryPolicy, *, sleep: Callable[[float], None] = time.sleep
) -> Result:
    """`call()`, again and again while it fails with a transient OSError and the patience lasts; then its last error."""
    bound, began = policy.first, 0.0
    while True:
        try:
            return call()
        except OSError as error:
            now = time.monotonic()
            began = began or now
            if not transient(error) or now - began + bound > policy.patience:
                raise
            sleep(random.uniform(0, bound))  # jitter, not a secret
            bound = min(2 * bound, policy.longest)
