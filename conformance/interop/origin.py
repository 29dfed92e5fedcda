"""An HTTP/1.1 origin on 127.0.0.1: takes whatever body there is and answers `ok`, or 16 MiB at /large."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = b"0123456789abcdef" * (1 << 20)


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        if self.headers.get("transfer-encoding"):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                self.rfile.read(size + 2)
            while self.rfile.readline().strip():
                pass
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = LARGE if self.path == "/large" else b"ok"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_):
        """A client that has gone is no news."""


Server(("127.0.0.1", int(sys.argv[1])), Origin).serve_forever()
