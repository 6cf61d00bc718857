"""An agent that serves the fake place: ``serve_fake.py [--socket PATH]``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.remote.fake_place import FakeSystem  # noqa: E402

from armkvm.backends.remote.agent import serve_socket, serve_stdio  # noqa: E402

if len(sys.argv) > 2:
    serve_socket(sys.argv[2], FakeSystem)
else:
    print("talk that must not reach the client", file=sys.stderr)
    serve_stdio(FakeSystem)
