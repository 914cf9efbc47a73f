"""A server on this machine that may cut, lie and be busy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Server(ThreadingHTTPServer):
    """Serves `files`; `behave(name, handler)` may spoil an answer; `requests` lists (path, Range)."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.behaviour, self.requests, self.count = files, "honest", [], 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        server.count += 1
        if server.behaviour == "busy first" and server.count == 1:
            return self.send_error(503)
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if server.behaviour == "no ranges":
            start = 0
        if start >= len(content) > 0:
            return self.send_error(416)
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        length = {"says too much": len(body) + 1000, "says too little": len(body) // 2}.get(server.behaviour, len(body))
        if server.behaviour != "says nothing":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        cut = server.behaviour in ("cuts", "no ranges") and server.count < 4
        self.wfile.write(body[: len(body) // 3 if cut else None])
        return None


@contextmanager
def serving(files) -> Iterator[Server]:
    """Serves path → content until the block ends."""
    made = Server(files)
    Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()
