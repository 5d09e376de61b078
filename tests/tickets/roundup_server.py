"""Roundup, a real ticket system, as a process of its own: `python -m tests.tickets.roundup_server
HOME PORT_FILE` makes a tracker of its classic template in HOME, listens on 127.0.0.1, and writes
its port when it answers. The password of `admin` comes from ROUNDUP_PASSWORD.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

from roundup.admin import AdminTool
from roundup.cgi.wsgi_handler import RequestDispatcher


class _Quiet(WSGIRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nothing."""


def _administer(*arguments: str) -> None:
    sys.argv = ["roundup-admin", *arguments]
    if AdminTool().main():
        sys.exit(f"roundup-admin refused {arguments[-2]}")


def _not_yet(environ: object, start: object) -> list[bytes]:
    raise AssertionError("nobody is told the port before the tracker is there")


def main(home: Path, port_file: Path) -> None:
    server = make_server("127.0.0.1", 0, _not_yet, handler_class=_Quiet)
    _administer("-i", str(home), "install", "classic", "sqlite")
    config = home / "config.ini"
    text = config.read_text()
    for name, value in (
        ("web", f"http://127.0.0.1:{server.server_port}/"),
        ("domain", "vendor.test"),
        ("host", "localhost"),
    ):
        text = re.sub(rf"(?m)^#{name} = NO DEFAULT$", f"{name} = {value}", text)
    config.write_text(text)
    _administer("-i", str(home), "initialise", os.environ["ROUNDUP_PASSWORD"])
    server.set_app(RequestDispatcher(str(home)))
    written = port_file.with_suffix(".part")
    written.write_text(str(server.server_port))
    written.replace(port_file)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
