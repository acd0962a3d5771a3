"""Stands in for Mesos-DNS on one master: `/v1/hosts/master.mesos` tells the addresses that the arguments name."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/v1/hosts/master.mesos"
        hosts = [{"host": "master.mesos.", "ip": ip} for ip in sys.argv[1:]] if known else [{"host": "", "ip": ""}]
        body = json.dumps(hosts).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", 8123), Handler).serve_forever()
