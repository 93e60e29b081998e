"""`python -m stocklog` is the command line."""

from __future__ import annotations

import sys

from stocklog.cli import main

sys.exit(main())
