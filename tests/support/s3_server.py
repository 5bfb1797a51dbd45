"""The S3 server of the benchmarks, for tests."""

from forebay.bench.s3_server import BUCKET, ENVIRONMENT, KEY, SECRET, S3Server, free_port, installed

__all__ = ["BUCKET", "ENVIRONMENT", "KEY", "SECRET", "S3Server", "free_port", "installed"]
