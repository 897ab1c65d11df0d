"""Fetch one image from the web: within a time, within a size, and from nowhere but the web."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request

from grounded_sam2.errors import ImageError

__all__ = ["download", "too_large"]

_CHUNK = 1 << 16


def download(url: str, *, timeout_s: float, max_bytes: int) -> bytes:
    """The bytes at an ``http`` or ``https`` address.

    Redirects are followed to ``http`` and ``https`` only. Proxies are taken from the environment.

    Args:
        url: blanks and letters outside ASCII in it are quoted.
        timeout_s: seconds for the whole download, and for each wait on the server.
        max_bytes: a larger answer is refused, by its announced length or else while it comes in.

    Raises:
        ImageError: the address cannot be reached, answers with an error, takes too long, is too
            large, or ends early.
    """
    deadline = time.monotonic() + timeout_s
    quoted = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    try:
        request = urllib.request.Request(quoted, headers={"User-Agent": "grounded-sam2"})
        with _web_only().open(request, timeout=timeout_s) as response:
            announced = response.headers.get("Content-Length", "")
            length = int(announced) if announced.isdigit() else None
            if length is not None and length > max_bytes:
                raise too_large(url, max_bytes)
            data = bytearray()
            # read1 returns what has come, so that a server that trickles cannot outlast us
            while chunk := response.read1(_CHUNK):
                data += chunk
                if len(data) > max_bytes:
                    raise too_large(url, max_bytes)
                if time.monotonic() > deadline:
                    raise TimeoutError
    except TimeoutError as error:
        raise _too_slow(url, timeout_s) from error
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            raise ImageError(
                f"image {url!r}: cannot be fetched: {error.code} {error.reason}"
            ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _too_slow(url, timeout_s) from error
        raise ImageError(f"image {url!r}: cannot be fetched: {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a bad port
        reason = str(error) or type(error).__name__
        raise ImageError(f"image {url!r}: cannot be fetched: {reason}") from error
    if length is not None and len(data) < length:
        raise ImageError(f"image {url!r}: ended after {len(data)} of {length} bytes; try again")
    return bytes(data)


def _web_only() -> urllib.request.OpenerDirector:
    """An opener without the handlers for ``file:``, ``ftp:`` and ``data:`` of the usual one."""
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


def too_large(url: str, max_bytes: int) -> ImageError:
    """The error for a file above the limit of downloads."""
    return ImageError(
        f"image {url!r}: is larger than {max_bytes} bytes; raise images.url_max_bytes to allow it"
    )


def _too_slow(url: str, timeout_s: float) -> ImageError:
    return ImageError(
        f"image {url!r}: took longer than {timeout_s:g} s; raise images.url_timeout_s to wait"
    )
