"""HTTP downloads of images, from a local server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError
from grounded_sam2.sources.image import load_image

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)


def png() -> bytes:
    buffer = BytesIO()
    PIL.Image.fromarray(PIXELS).save(buffer, "png")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Serves one path per case."""

    released = threading.Event()

    def do_GET(self) -> None:
        case, _, rest = self.path.removeprefix("/").partition("?")
        if case in ("scene.png", "sc%C3%A8ne%20a.png"):
            self.answer(png())
        elif case == "without-length":
            self.answer(png(), length=None)
        elif case == "cut":
            self.answer(png()[:-20], length=len(png()))
        elif case == "announces-much":
            self.answer(b"", length=10**12)
        elif case == "sends-much":
            self.answer(bytes(5000), length=None)
        elif case == "page":
            self.answer(b"<html>no image</html>")
        elif case == "to":
            self.answer(b"", code=302, location=rest)
        elif case == "never":
            self.released.wait(10)
        elif case == "trickle":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # the client has closed the connection
                while not self.released.wait(0.01):
                    self.wfile.write(b".")
        else:
            self.answer(b"", code=404)

    def answer(
        self, body: bytes, *, code: int = 200, length: int | None = -1, location: str = ""
    ) -> None:
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.released.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        Handler.released.set()
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["scene.png", "without-length", "to?/scene.png", "scène a.png"])
def test_download_returns_the_image(server: str, path: str) -> None:
    np.testing.assert_array_equal(load_image(f"{server}/{path}"), PIXELS)


def test_scheme_is_case_insensitive(server: str) -> None:
    np.testing.assert_array_equal(load_image(server.replace("http", "HTTP") + "/scene.png"), PIXELS)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("nothing", "cannot be fetched: 404 Not Found"),
        ("cut", r"ended after \d+ of \d+ bytes"),
        ("page", "is not an image, but a web page"),
        ("announces-much", r"is larger than 4096 bytes; raise images\.url_max_bytes"),
        ("sends-much", r"is larger than 4096 bytes; raise images\.url_max_bytes"),
        ("to?file:///etc/passwd", "cannot be fetched: "),
        ("to?ftp://127.0.0.1/x", "cannot be fetched: unknown url type: ftp"),
        ("to?data:text/plain,x", "cannot be fetched: "),
        ("to?/to?/to", "cannot be fetched: "),
    ],
)
def test_failures_name_the_address_and_the_reason(server: str, path: str, expected: str) -> None:
    with pytest.raises(ImageError, match=expected) as caught:
        load_image(f"{server}/{path}", config=ImageConfig(url_max_bytes=4096))
    assert f"'{server}/{path}'" in str(caught.value)


@pytest.mark.parametrize("path", ["never", "trickle"])
def test_slow_servers_time_out(server: str, path: str) -> None:
    with pytest.raises(ImageError, match=r"took longer than 0\.2 s; raise images\.url_timeout_s"):
        load_image(f"{server}/{path}", config=ImageConfig(url_timeout_s=0.2))


@pytest.mark.parametrize("address", ["http://", "http://127.0.0.1:port/x", "http://[::1/x"])
def test_invalid_addresses_are_errors(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(ImageError, match="cannot be fetched"):
        load_image(address)


def test_refused_connection_is_an_error(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    free = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = free.server_port
    free.server_close()
    with pytest.raises(ImageError, match=r"cannot be fetched: .*refused"):
        load_image(f"http://127.0.0.1:{port}/scene.png")
