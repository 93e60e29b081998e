"""Part of stocklog: inventory."""
