"""Drives a vendor's own clients, and answers as the vendor's server does, on loopback.

Usage: python server.py freddy|galileo|vijil. Prints its address.

`POST /control/NAME` runs a command of the module `products.VENDOR`. Its JSON object has the
command's arguments. The answer is `{"ok": result}`, or `{"error": {"type", "message", "status"}}`
with the exception of the vendor's client. Every other request is answered as by the vendor.
"""

import importlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from products.fake import Request

CONTROL = "/control/"


def run(command, arguments):
    try:
        return {"ok": command(**arguments)}
    except Exception as error:  # The clients raise exceptions of every kind.
        status = getattr(error, "status_code", None)
        told = {"type": type(error).__name__, "message": str(error), "status": status}
        return {"error": told}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.startswith(CONTROL):
            command = self.server.commands[self.path.removeprefix(CONTROL)]
            self.reply(200, json.dumps(run(command, json.loads(body))))
            return
        path = self.path.split("?")[0]
        answer = self.server.fake.answer(Request(self.command, path, self.headers, body))
        self.reply(*answer)

    do_GET = do_POST

    def reply(self, status, body, headers=()):
        body = body.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    vendor = importlib.import_module(f"products.{sys.argv[1]}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.fake = vendor.Fake()
    server.commands = {**vendor.COMMANDS, **server.fake.commands()}
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


main()
