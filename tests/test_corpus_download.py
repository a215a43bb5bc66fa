"""corpus/download.py against a real server on this machine: whole, resumed, cut, refused and absent."""

import hashlib
import http.server
import random
import socket
import threading

import pytest
from archives import pair_tgz

from fairseq_bertloss import cli
from fairseq_bertloss.corpus.download import Mirror, download, download_pair

CONTENT = random.Random(1).randbytes(300_000)


class Server(http.server.ThreadingHTTPServer):
    """Serves one content under every name, as its mode says, and remembers what was asked of it."""

    def __init__(self, mode: str = "ranges", content: bytes = CONTENT):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = mode
        self.content = content
        self.ranges: list[str | None] = []

    @property
    def mirror(self) -> Mirror:
        return Mirror(f"http://127.0.0.1:{self.server_port}/x.tgz", hashlib.md5(self.content).hexdigest())


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked, content, mode = self.headers["Range"], self.server.content, self.server.mode
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and mode != "no ranges" else 0
        if mode == "missing" or start >= len(content):
            return self.send_error(404 if mode == "missing" else 416)
        self.send_response(206 if start else 200)
        if start:
            first = start + 1 if mode == "wrong part" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + 100_000] if mode == "cut" else content[start:])

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """The server is on this machine, whatever the environment says about proxies."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def serve():
    """A function that starts a server; all are stopped at the end."""
    servers = []

    def start(*args) -> Server:
        servers.append(Server(*args))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_once(serve, tmp_path):
    server = serve()
    path = tmp_path / "new" / "x.tgz"
    assert download(server.mirror, str(path))
    assert path.read_bytes() == CONTENT and names(path.parent) == ["x.tgz"]
    assert not download(server.mirror, str(path))
    assert server.ranges == [None]


@pytest.mark.parametrize(
    "mode, asked",
    [("ranges", ["bytes=1234-"]), ("no ranges", ["bytes=1234-", None]), ("wrong part", ["bytes=1234-", None])],
)
def test_a_partial_file_is_completed(mode, asked, serve, tmp_path):
    (tmp_path / "x.tgz.partial").write_bytes(CONTENT[:1234])
    server = serve(mode)
    assert download(server.mirror, str(tmp_path / "x.tgz"))
    assert (tmp_path / "x.tgz").read_bytes() == CONTENT and names(tmp_path) == ["x.tgz"]
    assert server.ranges == asked


def test_a_partial_file_that_is_too_long_starts_over(serve, tmp_path):
    (tmp_path / "x.tgz.partial").write_bytes(CONTENT + b"x")
    server = serve()
    assert download(server.mirror, str(tmp_path / "x.tgz"))
    assert (tmp_path / "x.tgz").read_bytes() == CONTENT and server.ranges == [f"bytes={len(CONTENT) + 1}-", None]


def test_a_cut_connection_keeps_what_came(serve, tmp_path):
    server = serve("cut")
    path = str(tmp_path / "x.tgz")
    with pytest.raises(ValueError, match="cannot download http.*cut after 100000 of 300000 bytes; run the same"):
        download(server.mirror, path)
    assert names(tmp_path) == ["x.tgz.partial"]
    with pytest.raises(ValueError, match="cut after 200000 of 300000 bytes"):
        download(server.mirror, path)
    assert download(server.mirror, path)
    assert (tmp_path / "x.tgz").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]


def test_another_content_is_thrown_away(serve, tmp_path):
    server = serve()
    path = str(tmp_path / "x.tgz")
    expected = Mirror(server.mirror.url, "0" * 32)
    with pytest.raises(
        ValueError, match=f"has the MD5 checksum {server.mirror.md5}, but http.* should have {'0' * 32}; run"
    ):
        download(expected, path)
    assert names(tmp_path) == []


def test_a_wrong_partial_file_does_not_stay(serve, tmp_path):
    (tmp_path / "x.tgz.partial").write_bytes(b"something else")
    server = serve()
    path = str(tmp_path / "x.tgz")
    with pytest.raises(ValueError, match="run the same command again to start anew"):
        download(server.mirror, path)
    assert names(tmp_path) == [] and download(server.mirror, path)


def test_a_file_of_the_user_is_not_replaced(serve, tmp_path):
    path = tmp_path / "x.tgz"
    path.write_bytes(b"my own")
    server = serve()
    with pytest.raises(ValueError, match="x.tgz has the MD5 checksum .*; delete .*x.tgz, or leave out --download"):
        download(server.mirror, str(path))
    assert path.read_bytes() == b"my own" and not server.ranges
    with pytest.raises(ValueError, match="is a folder; name the file to download to, such as .*de-en.tgz"):
        download(server.mirror, str(tmp_path))


def test_a_missing_file_is_named(serve, tmp_path):
    with pytest.raises(ValueError, match="cannot download http://.*: HTTP Error 404: .*; run the same command"):
        download(serve("missing").mirror, str(tmp_path / "new" / "x.tgz"))
    assert names(tmp_path) == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_without_network_the_partial_file_stays(host, tmp_path):
    host = f"{host}:{free_port()}"
    (tmp_path / "x.tgz.partial").write_bytes(CONTENT[:10])
    with pytest.raises(ValueError, match=f"cannot download http://{host}/x.tgz: .*; run .* by other means") as error:
        download(Mirror(f"http://{host}/x.tgz", "0" * 32), str(tmp_path / "x.tgz"))
    assert "\n" not in str(error.value)
    assert (tmp_path / "x.tgz.partial").read_bytes() == CONTENT[:10]


def test_a_pair_without_address(tmp_path):
    with pytest.raises(
        ValueError, match="no download address of zh-en .* by hand from https://wit3.fbk.eu/2014-01 and give"
    ):
        download_pair(str(tmp_path / "x.tgz"), "zh", "en")


def test_a_pair_is_looked_up(serve, tmp_path):
    server = serve("ranges", pair_tgz())
    path = str(tmp_path / "de-en.tgz")
    assert download_pair(path, "de", "en", {("de", "en"): server.mirror})
    assert not download_pair(path, "de", "en", {("de", "en"): server.mirror})


def test_command_says_where_other_pairs_are(tmp_path, capsys):
    options = ["--corpus", "wit3", "--source-lang", "en", "--target-lang", "tr", "--destdir", str(tmp_path / "out")]
    assert cli.main(["extract", str(tmp_path / "x.tgz"), "--download", *options]) == 2
    assert "https://wit3.fbk.eu/2014-01" in capsys.readouterr().err and names(tmp_path) == []
