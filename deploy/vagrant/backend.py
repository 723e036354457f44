"""An HTTP server that answers every GET with this machine's name."""

import http.server
import socket
import sys

NAME = (socket.gethostname() + "\n").encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(NAME)))
        self.end_headers()
        self.wfile.write(NAME)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


Server(("", int(sys.argv[1])), Handler).serve_forever()
