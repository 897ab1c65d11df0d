"""HTTP download of one image, limited in time and size, from ``http`` and ``https`` only."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request

from grounded_sam2.errors import ImageError

__all__ = ["download", "too_large_error"]

_CHUNK_BYTES = 1 << 16


def download(url: str, *, timeout_s: float, max_bytes: int) -> bytes:
    """Return the bytes at an ``http`` or ``https`` address.

    Redirects are followed to ``http`` and ``https`` only. Proxies are taken from the environment.

    Args:
        url: blanks and characters outside ASCII are quoted.
        timeout_s: seconds for the whole download, and for each wait on the server.
        max_bytes: largest response accepted, checked against its ``Content-Length`` and while it
            arrives.

    Raises:
        ImageError: the address cannot be reached, responds with an error, takes too long, is too
            large, or ends early.
    """
    deadline = time.monotonic() + timeout_s
    quoted = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    try:
        request = urllib.request.Request(quoted, headers={"User-Agent": "grounded-sam2"})
        with _http_opener().open(request, timeout=timeout_s) as response:
            announced = response.headers.get("Content-Length", "")
            length = int(announced) if announced.isdigit() else None
            if length is not None and length > max_bytes:
                raise too_large_error(url, max_bytes)
            data = bytearray()
            # read1 returns what has arrived: a slow trickle must not outlast the deadline.
            while chunk := response.read1(_CHUNK_BYTES):
                data += chunk
                if len(data) > max_bytes:
                    raise too_large_error(url, max_bytes)
                if time.monotonic() > deadline:
                    raise TimeoutError
    except TimeoutError as error:
        raise _timeout_error(url, timeout_s) from error
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            raise ImageError(
                f"image {url!r}: cannot be fetched: {error.code} {error.reason}"
            ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _timeout_error(url, timeout_s) from error
        raise ImageError(f"image {url!r}: cannot be fetched: {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a bad port
        reason = str(error) or type(error).__name__
        raise ImageError(f"image {url!r}: cannot be fetched: {reason}") from error
    if length is not None and len(data) < length:
        raise ImageError(f"image {url!r}: ended after {len(data)} of {length} bytes; try again")
    return bytes(data)


def too_large_error(name: str, max_bytes: int) -> ImageError:
    """The error for a remote file above ``images.url_max_bytes``."""
    return ImageError(
        f"image {name!r}: is larger than {max_bytes} bytes; raise images.url_max_bytes to allow it"
    )


def _timeout_error(url: str, timeout_s: float) -> ImageError:
    return ImageError(
        f"image {url!r}: took longer than {timeout_s:g} s; raise images.url_timeout_s to wait"
    )


def _http_opener() -> urllib.request.OpenerDirector:
    """An opener without urllib's default handlers for ``file:``, ``ftp:`` and ``data:``."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener
