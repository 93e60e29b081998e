"""Part of stocklog: protocol."""
