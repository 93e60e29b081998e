"""Part of stocklog: broker."""
