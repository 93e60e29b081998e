"""Faults by the hundred, and whether anything was lost, came twice or out of order.

`run` drives it: producers and readers are processes of their own (`producer`,
`reader`), each behind a loopback proxy (`proxy`), and keep a history outside the
broker (`history`). `faults` strikes, `rig` holds the private broker and the
processes, and `checker` holds the log against the histories.
"""
