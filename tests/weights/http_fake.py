"""A small HTTP server with the faults of real ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server holds and how it misbehaves; ``seen`` collects (path, Range header)."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    tags: bool = True
    drop_after: list[int] = field(
        default_factory=list
    )  # bytes sent before each of the next connections drops
    hang: bool = False
    most: int | None = None  # bytes of a range that one answer brings
    status: int | None = None  # of every answer
    lengths: str | None = None  # stated instead of the right Content-Length
    redirects: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def tag(self, path: str) -> str:
        return f'"{hash(self.files[path])}"'


def _answer(handler: BaseHTTPRequestHandler, site: Site) -> None:
    path, wanted = handler.path, handler.headers.get("Range")
    site.seen.append((path, wanted))
    if site.status is not None:
        handler.send_error(site.status)
        return
    if path in site.redirects:
        handler.send_response(302)
        handler.send_header("Location", site.redirects[path])
        handler.end_headers()
        return
    if path not in site.files:
        handler.send_error(404)
        return
    body, start = site.files[path], 0
    same = handler.headers.get("If-Range") in (None, site.tag(path))
    if site.ranges and wanted and same:
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
    if start >= len(body):
        handler.send_response(416)
        handler.end_headers()
        return
    handler.send_response(206 if start else 200)
    size = len(body)
    if start:
        body = body[: None if site.most is None else start + site.most]
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{size}")
    if site.tags:
        handler.send_header("ETag", site.tag(path))
    handler.send_header("Content-Length", site.lengths or str(len(body) - start))
    handler.end_headers()
    body = body[start:]
    if site.drop_after:
        body = body[: site.drop_after.pop(0)]
    handler.wfile.write(body)
    if site.hang:
        handler.wfile.flush()
        threading.Event().wait(3)


@contextmanager
def serve() -> Iterator[Site]:
    """The site, running on this machine until the block ends."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, site)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
