"""Signatures are those that AWS computes, and show nothing of the secret."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.formats.s3_signature import Keys, signed

KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOW = datetime(2013, 5, 24, tzinfo=UTC)


def test_the_example_of_the_documentation_has_its_signature() -> None:
    headers = {"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9"}
    found = signed("/test.txt", headers, KEYS, region="us-east-1", now=NOW)["authorization"]
    assert found == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


@given(
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1),
    token=st.sampled_from(["", "t"]),
)
def test_signatures_are_those_of_botocore(name: str, token: str) -> None:
    auth = pytest.importorskip("botocore.auth")
    from urllib.parse import quote

    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    path = "/bucket/" + quote(name, safe="/-_.~")
    ours = signed(path, {"host": "h:9000", "if-match": '"e"'}, Keys("a", "s", token), region="eu-west-1")
    stamp = ours["x-amz-date"]
    request = AWSRequest("GET", f"http://h:9000{path}", headers={"host": "h:9000", "if-match": '"e"'})
    request.headers["x-amz-content-sha256"] = ours["x-amz-content-sha256"]
    request.headers["X-Amz-Date"] = request.context["timestamp"] = stamp
    if token:
        request.headers["X-Amz-Security-Token"] = token
    theirs = auth.S3SigV4Auth(Credentials("a", "s", token or None), "s3", "eu-west-1")
    text = theirs.string_to_sign(request, theirs.canonical_request(request))
    assert ours["authorization"].endswith(f"Signature={theirs.signature(text, request)}")


def test_keys_show_nothing_of_themselves() -> None:
    assert KEYS.secret not in repr(KEYS) and KEYS.access not in repr(KEYS)
