"""The same job in other clients and on the bare wire. Each module has `publish` and `read`."""
