"""Part of stocklog: stream."""
