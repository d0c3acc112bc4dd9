"""`python -m framefill`: the program."""

from __future__ import annotations

import sys

from framefill.apps.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
