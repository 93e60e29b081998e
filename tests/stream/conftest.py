"""What all tests of the stream client share."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

# `chunk_reference`, the plain telling of the chunk layout.
sys.path.append(str(Path(__file__).parent.parent / "protocol"))

# A busy machine is no reason to fail: examples of property tests have no time limit here.
settings.register_profile("stocklog", deadline=None)
settings.load_profile("stocklog")
