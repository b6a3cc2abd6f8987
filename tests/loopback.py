"""Small servers on 127.0.0.1 that stand in for OpenAI's storage, figshare and the Hugging Face hub, faults included."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Served:
    """A running server: its address, and (method, path, Range header or "", bytes sent) of every request so far."""

    url: str
    log: list[tuple[str, str, str, int]] = field(default_factory=list)

    def sent(self, path: str) -> list[tuple[str, int]]:
        """(Range, bytes sent) of every GET of `path` but those of one byte that ask for the length."""
        return [(r, n) for method, p, r, n in self.log if (method, p) == ("GET", path) and r != "bytes=0-0"]


@contextlib.contextmanager
def serve_tree(
    folder, fault: str = "", times: int = 10**6, ranges: bool = True, pages: dict[str, object] | None = None
):
    """Serve the files below `folder` at their relative paths; yields a `Served`.

    `pages` adds JSON answers by path. `fault` strikes the first `times` requests of a file: "drop" closes the
    connection in the middle, "wrong" sends other bytes of the same length, "short" declares and sends half, "html" a
    web page, "missing" 404, "busy" 503, "unknown" states no length. `ranges=False` ignores Range, as some servers do.
    """
    folder = Path(folder)

    def find(path: str):
        file = folder / path.lstrip("/")
        return (file, {}) if file.is_file() and ".." not in path else None

    with serve(find, {} if pages is None else pages, fault, times, ranges) as served:
        yield served


@contextlib.contextmanager
def serve(find, pages: dict[str, object], fault: str, times: int, ranges: bool):
    """Serve what `find(path) -> (file, headers) or None` finds, and `pages` as JSON."""
    seen, served = Counter(), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def log_message(self, *args):
            pass

        def answer(self, body: bytes, status=200, cut=None, **headers):
            sent = b"" if self.command == "HEAD" else body[:cut]
            served[0].log.append(
                (self.command, unquote(urlsplit(self.path).path), self.headers.get("Range", ""), len(sent))
            )
            self.send_response(status)
            headers = {"Content-Length": len(body), **{k.replace("_", "-"): v for k, v in headers.items()}}
            for name, value in headers.items():
                if value is not None:
                    self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(sent)
            if cut is not None or headers["Content-Length"] is None:
                self.close_connection = True

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            if path in pages:
                return self.answer(json.dumps(pages[path]).encode(), Content_Type="application/json")
            found = find(path)
            if found is None:
                return self.answer(b"no such file", 404)
            self.send_file(found[0], path, **found[1])

        do_HEAD = do_GET

        def send_file(self, file: Path, path: str, **headers):
            whole = file.read_bytes()
            asked = self.headers.get("Range", "") if ranges else ""
            tag = f'"{hashlib.sha256(whole).hexdigest()}"'
            if self.headers.get("If-Range", tag) != tag:
                asked = ""
            probe = self.command == "HEAD" or self.headers.get("Range") == "bytes=0-0"
            struck = fault if seen[path] < times else ""
            seen[path] += 0 if probe else 1
            if struck == "missing":
                return self.answer(b"no such file", 404)
            if struck == "busy":
                return self.answer(b"later", 503)
            if struck == "html":
                return self.answer(b"<html>sign in first</html>", Content_Type="text/html")
            if struck == "wrong":
                whole = bytes(b ^ 255 for b in whole)
            if struck == "short":
                whole = whole[: len(whole) // 2]
            headers = {"Content_Type": "application/octet-stream", "ETag": tag, **headers}
            if struck == "unknown":
                return self.answer(whole, Content_Length=None, **{**headers, "Connection": "close"})
            body, status = whole, 200
            if asked:
                first, last = asked.removeprefix("bytes=").split("-")
                first, last = int(first), min(int(last or len(whole) - 1), len(whole) - 1)
                if first >= len(whole):
                    return self.answer(b"", 416, Content_Range=f"bytes */{len(whole)}")
                body, status = whole[first : last + 1], 206
                headers["Content_Range"] = f"bytes {first}-{last}/{len(whole)}"
            cut = len(body) // 2 if struck == "drop" and not probe else None
            self.answer(body, status, cut, **headers)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        served.append(Served(f"http://127.0.0.1:{server.server_port}"))
        yield served[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextlib.contextmanager
def serve_hub(models: dict[str, Path], fault: str = "", times: int = 10**6):
    """A stand-in for the Hugging Face hub that offers each folder of `models` under its name, weights as LFS files."""
    pages, root = {}, {}
    for name, folder in models.items():
        for file in (p for p in sorted(Path(folder).rglob("*")) if p.is_file()):
            root[f"/{name}/resolve/{COMMIT}/{file.relative_to(folder).as_posix()}"] = file
        files = [
            {"rfilename": p.split(COMMIT + "/")[1], "size": f.stat().st_size, "blobId": git_blob(f), "lfs": lfs(f)}
            for p, f in root.items()
            if p.startswith(f"/{name}/")
        ]
        tree = [
            {"type": "file", "path": f["rfilename"], "size": f["size"], "oid": f["blobId"], "lfs": f["lfs"]}
            for f in files
        ]
        info = {"_id": "0", "id": name, "modelId": name, "sha": COMMIT, "private": False, "siblings": files, "tags": []}
        pages[f"/api/models/{name}"] = pages[f"/api/models/{name}/revision/main"] = info
        pages[f"/api/models/{name}/revision/{COMMIT}"] = info
        pages[f"/api/models/{name}/tree/{COMMIT}"] = tree

    def find(path: str):
        file = root.get(path.replace("/resolve/main/", f"/resolve/{COMMIT}/"))
        if file is None:
            return None
        tag = (lfs(file) or {"oid": git_blob(file)})["oid"]
        return file, {"X_Repo_Commit": COMMIT, "ETag": f'"{tag}"'}

    with serve(find, pages, fault, times, True) as served:
        yield served


def git_blob(file: Path) -> str:
    """The name git gives to the file's bytes."""
    data = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs(file: Path) -> dict | None:
    """What the hub says of a large file; None for the small ones it keeps in git."""
    if file.suffix not in (".safetensors", ".bin", ".h5", ".msgpack"):
        return None
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"oid": digest, "sha256": digest, "size": file.stat().st_size, "pointerSize": 134}
