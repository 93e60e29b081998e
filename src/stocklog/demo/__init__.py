"""The exercise and a day of a shop on a real broker, each step measured and explained."""

from __future__ import annotations

from stocklog.demo.day import Day
from stocklog.demo.exercise import Demo
from stocklog.demo.telling import DemoError, Teller, demo_stream

__all__ = ["Day", "Demo", "DemoError", "Teller", "demo_stream"]
