"""Requests to a server that may be slow, busy, or not mean well.

`requests` limits how long one read from the network may take. It does not limit a whole answer: a
server that sends one byte a second, in the headers or in the body, keeps it waiting for ever. A
`Client` adds what a download needs to come to an end:

*A least speed.* While an answer is awaited and read, a `SpeedWatch` counts its bytes. Where fewer
than 1 KiB a second came over a minute, it hangs up.

*Patience with a busy server.* Failures are repeated after a pause that doubles, or after the pause
that the server asks for (`Retry-After`).

*Addresses that are safe to follow.* Only https is spoken, in redirections too; plain http is for
servers on this machine. Names, passwords and tokens in an address never appear in a message
(`redact`).
"""

from __future__ import annotations

import contextlib
import email.utils
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from georep_utils.data.files import one_line
from georep_utils.io import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BUSY = (408, 429)  # as is everything from 500 on
MAX_REDIRECTS = 10
CHUNK = 2**16
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """How patient a transfer is.

    Attributes
    ----------
    attempts
        Failures in a row before it gives up.
    backoff
        Seconds before the second attempt; doubles with each further one.
    longest_pause
        The most seconds that a server may ask us to wait.
    timeout
        Seconds to wait for a connection, and for the next byte.
    least_speed, window
        Fewer bytes a second than this, over so many seconds, are a failure.
    max_bytes
        The most bytes of a file whose length nobody states.
    """

    attempts: int = 5
    backoff: float = 1.0
    longest_pause: float = 120.0
    timeout: float = 30.0
    least_speed: float = 1024.0
    window: float = 60.0
    max_bytes: int = 100 * 2**30


DEFAULT_LIMITS = Limits()


# ---------------------------------------------------------------------------------------- addresses


def check_url(url: str) -> None:
    """Make sure that an address is https, or http on this machine.

    Raises
    ------
    UserError
        If it is neither.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise UserError(f"{redact(url)} is no address; expected https://...; correct it") from None
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    if not host or not is_safe:
        raise UserError(
            f"{redact(url)} is not fetched; expected an address that begins with https://, "
            "because anybody on the way may change what comes over http; correct it"
        )


def redact(text: str) -> str:
    """`text` without what addresses in it may hold of names, passwords and tokens."""
    without_user = re.sub(r"(?<=//)[^/\s]*@", "", text)
    return re.sub(r"[?#]\S+", "?...", without_user)


def brief(error: BaseException) -> str:
    """The kind of an error and its text, in one line and without secrets."""
    return redact(one_line(error))


# -------------------------------------------------------------------------------------- least speed


class SpeedWatch:
    """Hangs up on a server that sends too slowly; used in a `with` block around one answer.

    A read that is under way can't be stopped from outside, but it ends when its socket is shut
    down. So a thread looks at the count of bytes once in each window, and shuts the socket down
    where too few came.
    """

    def __init__(self, least_speed: float, window: float):
        self.received = 0
        self._least = least_speed * window
        self._window = window
        self._socket: socket.socket | None = None
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._too_slow = False

    def follow(self, connected: socket.socket) -> None:
        """The socket that the next answer comes from."""
        self._socket = connected

    def __enter__(self) -> SpeedWatch:
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._finished.set()
        self._thread.join()
        # Whatever the cut connection raised, or that it only looked like the end of the body.
        if self._too_slow and (error is None or isinstance(error, requests.RequestException)):
            raise requests.ReadTimeout(
                f"fewer than {self._least:.0f} bytes in {self._window:g} seconds"
            ) from None

    def _watch(self) -> None:
        before = 0
        while not self._finished.wait(self._window):
            if self.received - before < self._least:
                self._too_slow = True
                self._hang_up()
                return
            before = self.received

    def _hang_up(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # The method of the plain socket: that of a TLS socket would stop decrypting, and
                # the last bytes on their way would be taken for content as they are.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _WatchedAdapter(HTTPAdapter):
    """Tells a `SpeedWatch` which socket an answer is awaited from, headers included."""

    def __init__(self):
        self.watch: SpeedWatch | None = None
        super().__init__()

    def init_poolmanager(self, *args, **options):
        super().init_poolmanager(*args, **options)
        self._use_watched_connections(self.poolmanager)

    def proxy_manager_for(self, proxy, **options):
        manager = super().proxy_manager_for(proxy, **options)
        self._use_watched_connections(manager)
        return manager

    def _use_watched_connections(self, manager: urllib3.PoolManager) -> None:
        adapter = self

        class Watched:
            def getresponse(self):
                adapter.watch.follow(self.sock)
                return super().getresponse()

        class WatchedHTTP(Watched, HTTPConnection):
            pass

        class WatchedHTTPS(Watched, HTTPSConnection):
            pass

        class HTTPPool(HTTPConnectionPool):
            ConnectionCls = WatchedHTTP

        class HTTPSPool(HTTPSConnectionPool):
            ConnectionCls = WatchedHTTPS

        manager.pool_classes_by_scheme = {"http": HTTPPool, "https": HTTPSPool}


# ----------------------------------------------------------------------------------------- requests


class ServerBusy(requests.HTTPError):
    """The server asks to come again, after `pause` seconds."""

    def __init__(self, status: int, pause: float):
        super().__init__(f"status {status}")
        self.pause = pause


@dataclass(frozen=True)
class Answer:
    """The status and headers of an answer, and its body, which has not been read."""

    status: int
    headers: requests.structures.CaseInsensitiveDict
    _response: requests.Response
    _watch: SpeedWatch

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces, each as soon as it comes.

        Raises
        ------
        requests.RequestException
            If it ends before its stated length, or comes too slowly.
        """
        try:
            # `read1` returns what has come, so that slow bytes are counted when they come.
            while chunk := self._response.raw.read1(CHUNK):
                self._watch.received += len(chunk)
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise requests.ConnectionError(brief(error)) from None


class Client:
    """A session with servers, under `limits`; used in a `with` block, by one thread."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self._adapter = _WatchedAdapter()
        self._session = requests.Session()
        self._session.mount("https://", self._adapter)
        self._session.mount("http://", self._adapter)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error) -> None:
        self._session.close()

    @contextlib.contextmanager
    def get(self, url: str, headers: dict[str, str] | None = None) -> Iterator[Answer]:
        """Ask for `url`, following redirections.

        Yields
        ------
        An answer of status 200, 206 or 416.

        Raises
        ------
        requests.RequestException
            For what may be better another time: no connection, too little speed, `ServerBusy`.
        UserError
            For an unsafe address, any other status, and a web page instead of a file.
        """
        # Compressed on the way, a file would have another length than the one that is known.
        asked = {"Accept-Encoding": "identity"} | (headers or {})
        with SpeedWatch(self.limits.least_speed, self.limits.window) as watch:
            self._adapter.watch = watch
            with self._open(url, asked) as response:
                self._check_status(url, response)
                yield Answer(response.status_code, response.headers, response, watch)

    def _open(self, url: str, headers: dict[str, str]) -> requests.Response:
        for _ in range(MAX_REDIRECTS):
            check_url(url)
            response = self._session.get(
                url,
                headers=headers,
                stream=True,
                timeout=self.limits.timeout,
                # Followed here instead: `requests` would read the body of a redirection whole.
                allow_redirects=False,
            )
            if not response.is_redirect:
                return response
            url = urljoin(url, response.headers["Location"])
            response.close()
        raise requests.TooManyRedirects(f"more than {MAX_REDIRECTS} redirections")

    def _check_status(self, url: str, response: requests.Response) -> None:
        status = response.status_code
        kind = response.headers.get("Content-Type", "")
        if status in BUSY or status >= 500:
            asked = retry_after(response.headers.get("Retry-After", ""))
            raise ServerBusy(status, min(asked, self.limits.longest_pause))
        # A server that wants a login first often answers with a page and status 200.
        is_file = status in (200, 206) and not kind.startswith("text/html")
        if status != 416 and not is_file:
            raise UserError(
                f"nothing is at {redact(url)} (status {status}, {kind or 'no type'}); "
                "expected a file: check the address"
            )

    def patiently(self, action: Callable, what: str, progress: Callable[[], int] = lambda: 0):
        """`action()`, again after a failure that may pass.

        Parameters
        ----------
        action
            What to do.
        what
            What a message calls it.
        progress
            How many bytes are there. A mebibyte more than ever before forgives the failures so
            far: a long file over a poor line is not given up.

        Raises
        ------
        UserError
            After `limits.attempts` failures in a row.
        """
        failures = 0
        furthest = progress()
        while True:
            try:
                return action()
            except requests.RequestException as error:
                if progress() - furthest >= MEBIBYTE:
                    furthest = progress()
                    failures = 0
                failures += 1
                hopeless = isinstance(error, ValueError)  # an address that can't be asked
                if failures >= self.limits.attempts or hopeless:
                    raise UserError(
                        f"{what}: {brief(error)}; check the network and run again"
                    ) from None
                backoff = self.limits.backoff * 2 ** (failures - 1)
                time.sleep(max(backoff, getattr(error, "pause", 0)))


def retry_after(value: str) -> float:
    """Seconds that a `Retry-After` header asks for, which are a number or a date; 0 for neither."""
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
        return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0
