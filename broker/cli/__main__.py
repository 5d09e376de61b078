"""`python -m broker.cli`: the same command line, without its script on the path."""

from __future__ import annotations

from broker.cli import main

if __name__ == "__main__":
    main()
