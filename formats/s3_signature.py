"""Signing requests to an S3 server: AWS Signature Version 4.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_BODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Keys:
    """Who asks. Its text shows nothing of it."""

    access: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    """Of keys that are valid for a while; "" for others."""


def signed(
    path: str, headers: Mapping[str, str], keys: Keys, *, region: str, now: datetime | None = None
) -> dict[str, str]:
    """The headers of a GET with those that prove who asks.

    Args:
        path: the path of the request, quoted.
        headers: by their names in small letters, with `host`.
        keys: who asks.
        region: of the bucket.
        now: the time, in UTC; None takes the clock's.
    """
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    given = {**headers, "x-amz-content-sha256": _NO_BODY, "x-amz-date": stamp}
    if keys.token:
        given["x-amz-security-token"] = keys.token
    names = ";".join(sorted(given))
    lines = [f"{name}:{given[name].strip()}" for name in sorted(given)]
    request = "\n".join(["GET", path, "", *lines, "", names, _NO_BODY])
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = hmac.new(_key(keys.secret, stamp[:8], region), text.encode(), hashlib.sha256).hexdigest()
    given["authorization"] = (
        f"{_ALGORITHM} Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return given


@lru_cache(maxsize=16)
def _key(secret: str, day: str, region: str) -> bytes:
    """The key of a day."""
    made = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        made = hmac.new(made, part.encode(), hashlib.sha256).digest()
    return made
