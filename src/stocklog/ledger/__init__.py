"""Part of stocklog: ledger."""
