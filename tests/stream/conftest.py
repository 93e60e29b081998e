"""A busy machine is no reason to fail: examples of property tests have no time limit here."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("stocklog", deadline=None)
settings.load_profile("stocklog")
