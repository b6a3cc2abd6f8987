"""Small servers on 127.0.0.1 for OpenAI's storage, figshare and the Hugging Face hub, with faults.

Every fault comes to an end by itself within a few seconds, so that no test can hang on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LENGTH_PROBE = "bytes=0-0"
DRIP_SECONDS = 3.0
ENDLESS_BYTES = 2**28


@dataclass(frozen=True)
class Served:
    """A running server: its address, and (method, path, Range header or "", bytes sent) so far."""

    url: str
    log: list[tuple[str, str, str, int]] = field(default_factory=list)

    def sent(self, path: str) -> list[tuple[str, int]]:
        """(Range, bytes sent) of every GET of `path` but those that ask for the length."""
        return [
            (asked, n_bytes)
            for method, logged, asked, n_bytes in self.log
            if (method, logged) == ("GET", path) and asked != LENGTH_PROBE
        ]


@dataclass
class Site:
    """What a server offers, and how it misbehaves.

    Attributes
    ----------
    find
        From a path to its file and headers, or None.
    pages
        JSON answers by path.
    fault, times
        What strikes the first so many requests of each file: see `serve_tree`.
    ranges
        Whether Range is heeded.
    if_range
        Whether If-Range is heeded.
    retry_after
        The header of that name, with the fault "busy".
    redirects
        From a path to another address.
    missing
        Headers of an answer that nothing is there.
    """

    find: Callable
    pages: dict[str, object]
    fault: str = ""
    times: int = 10**6
    ranges: bool = True
    if_range: bool = True
    retry_after: str = ""
    redirects: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    seen: Counter = field(default_factory=Counter)
    served: Served | None = None


@contextlib.contextmanager
def serve_tree(folder, fault="", times=10**6, ranges=True, pages=None, **manners):
    """Serve the files below `folder` at their relative paths; yields a `Served`.

    `fault` strikes the first `times` requests of a file: "drop" closes the connection in the
    middle, "wrong" sends other bytes of the same length, "short" declares and sends half, "html" a
    web page, "missing" 404, "busy" 503, "unknown" states no length, "drip" sends a few bytes a
    second, "slow headers" the same before the body, "endless" never ends the body. `ranges=False`
    ignores Range, as some servers do. `manners` are further attributes of `Site`.
    """
    folder = Path(folder)

    def find(path: str):
        file = folder / path.lstrip("/")
        return (file, {}) if file.is_file() and ".." not in path else None

    pages = {} if pages is None else pages
    with serve(Site(find, pages, fault, times, ranges, **manners)) as served:
        yield served


@contextlib.contextmanager
def serve(site: Site):
    """Run a server of `site` in the background."""
    handler = type("SiteHandler", (Handler,), {"site": site})
    server = QuietServer(("127.0.0.1", 0), handler)
    site.served = Served(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield site.served
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that hang up, as they should on some faults."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for one `site`."""

    site: Site
    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if path in self.site.redirects:
            self.answer(b"", 302, Location=self.site.redirects[path])
        elif path in self.site.pages:
            content = json.dumps(self.site.pages[path]).encode()
            self.answer(content, Content_Type="application/json")
        else:
            found = self.site.find(path)
            if found is None:
                self.answer(b"nothing here", 404, **self.site.missing)
            else:
                self.send_file(found[0], path, found[1])

    do_HEAD = do_GET

    def note(self, n_bytes: int):
        path = unquote(urlsplit(self.path).path)
        entry = (self.command, path, self.headers.get("Range", ""), n_bytes)
        self.site.served.log.append(entry)

    def start(self, status: int, headers: dict):
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def answer(self, body: bytes, status=200, cut=None, **headers):
        """Send `body`, or its first `cut` bytes under the length of the whole."""
        sent = b"" if self.command == "HEAD" else body[:cut]
        self.note(len(sent))
        headers = {"Content_Length": len(body)} | headers
        self.start(status, headers)
        self.wfile.write(sent)
        if cut is not None or headers["Content_Length"] is None:
            self.close_connection = True

    def send_file(self, file: Path, path: str, headers: dict):
        whole = file.read_bytes()
        tag = f'"{hashlib.sha256(whole).hexdigest()}"'
        headers = {"Content_Type": "application/octet-stream", "ETag": tag} | headers
        fault = self.struck(path)
        if fault == "wrong":
            whole = bytes(byte ^ 255 for byte in whole)
        if fault == "short":
            whole = whole[: len(whole) // 2]
        if fault in REFUSALS:
            REFUSALS[fault](self)
        elif fault in SLOW and not self.is_probe():
            SLOW[fault](self, whole, headers)
        elif fault in ("unknown", "endless"):
            self.answer(whole, **headers | {"Content_Length": None, "Connection": "close"})
        else:
            self.send_range(whole, headers, drop=fault == "drop")

    def is_probe(self) -> bool:
        return self.command == "HEAD" or self.headers.get("Range") == LENGTH_PROBE

    def struck(self, path: str) -> str:
        """The fault of this request, which is counted if it is no question for the length."""
        fault = self.site.fault if self.site.seen[path] < self.site.times else ""
        if not self.is_probe():
            self.site.seen[path] += 1
        return fault

    def send_range(self, whole: bytes, headers: dict, drop: bool):
        body = whole
        status = 200
        asked = self.headers.get("Range", "") if self.site.ranges else ""
        expected_tag = self.headers.get("If-Range", headers["ETag"])
        if self.site.if_range and expected_tag != headers["ETag"]:
            asked = ""
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            first = int(first)
            last = min(int(last or len(whole) - 1), len(whole) - 1)
            if first >= len(whole):
                self.answer(b"", 416, Content_Range=f"bytes */{len(whole)}")
                return
            body = whole[first : last + 1]
            status = 206
            headers = headers | {"Content_Range": f"bytes {first}-{last}/{len(whole)}"}
        cut = len(body) // 2 if drop and not self.is_probe() else None
        self.answer(body, status, cut, **headers)

    # ---------------------------------------------------------------------------------- faults

    def refuse(self):
        self.answer(b"no such file", 404)

    def be_busy(self):
        self.answer(b"later", 503, Retry_After=self.site.retry_after or None)

    def send_page(self):
        self.answer(b"<html>sign in first</html>", Content_Type="text/html")

    def drip(self, whole: bytes, headers: dict):
        self.start(200, headers | {"Content_Length": len(whole)})
        self.write_slowly(whole)

    def drip_headers(self, whole: bytes, headers: dict):
        self.write_slowly(b"HTTP/1.1 200 OK\r\nX-Waiting: " + b"a" * 1000)

    def write_slowly(self, content: bytes):
        self.close_connection = True
        self.note(0)
        for i in range(int(DRIP_SECONDS / 0.02)):
            self.wfile.write(content[i : i + 1])
            self.wfile.flush()
            time.sleep(0.02)

    def send_without_end(self, whole: bytes, headers: dict):
        self.close_connection = True
        self.note(0)
        self.start(200, headers | {"Transfer_Encoding": "chunked"})
        block = bytes(2**16)
        for _ in range(ENDLESS_BYTES // len(block)):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))


REFUSALS = {"missing": Handler.refuse, "busy": Handler.be_busy, "html": Handler.send_page}
SLOW = {
    "drip": Handler.drip,
    "slow headers": Handler.drip_headers,
    "endless": Handler.send_without_end,
}


# ------------------------------------------------------------------------------------------ the hub


@contextlib.contextmanager
def serve_hub(models: dict[str, Path], fault="", times=10**6, revisions=None):
    """A stand-in for the Hugging Face hub that offers each folder of `models` under its name.

    Weights are LFS files. `revisions` holds folders of other revisions than "main", by the name of
    the model and that of the revision.
    """
    pages: dict[str, object] = {}
    files: dict[str, Path] = {}
    for name, folder in models.items():
        add_revision(pages, files, name, "main", COMMIT, Path(folder))
        for revision, other in (revisions or {}).get(name, {}).items():
            commit = hashlib.sha1(f"{name} {revision}".encode()).hexdigest()
            add_revision(pages, files, name, revision, commit, Path(other))
        pages[f"/api/models/{name}"] = pages[f"/api/models/{name}/revision/main"]

    def find(path: str):
        file = files.get(path.replace("/resolve/main/", f"/resolve/{COMMIT}/"))
        if file is None:
            return None
        commit = path.split("/resolve/")[1].split("/")[0].replace("main", COMMIT)
        tag = (lfs(file) or {"oid": git_blob(file)})["oid"]
        return file, {"X_Repo_Commit": commit, "ETag": f'"{tag}"'}

    # What the hub says of a revision that it has not; other tests only look at the 404.
    missing = {"X_Error_Code": "RevisionNotFound"} if revisions else {}
    with serve(Site(find, pages, fault, times, missing=missing)) as served:
        yield served


def add_revision(pages, files, name: str, revision: str, commit: str, folder: Path):
    """Enter one revision of a model into the pages and files of a hub."""
    listed = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        path = file.relative_to(folder).as_posix()
        files[f"/{name}/resolve/{commit}/{path}"] = file
        about = {"size": file.stat().st_size, "lfs": lfs(file)}
        listed.append(about | {"rfilename": path, "blobId": git_blob(file)})
    info = {
        "_id": "0",
        "id": name,
        "modelId": name,
        "sha": commit,
        "private": False,
        "siblings": listed,
        "tags": [],
    }
    pages[f"/api/models/{name}/revision/{revision}"] = info
    pages[f"/api/models/{name}/revision/{commit}"] = info
    pages[f"/api/models/{name}/tree/{commit}"] = [
        {
            "type": "file",
            "path": file["rfilename"],
            "size": file["size"],
            "oid": file["blobId"],
            "lfs": file["lfs"],
        }
        for file in listed
    ]


def git_blob(file: Path) -> str:
    """The name that git gives to the file's bytes."""
    data = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs(file: Path) -> dict | None:
    """What the hub says of a large file; None for the small ones that it keeps in git."""
    if file.suffix not in (".safetensors", ".bin", ".h5", ".msgpack"):
        return None
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"oid": digest, "sha256": digest, "size": file.stat().st_size, "pointerSize": 134}
