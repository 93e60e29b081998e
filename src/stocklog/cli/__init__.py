"""Part of stocklog: cli."""
