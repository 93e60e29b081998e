"""Where streams and inventory meet: produce, load, consume, and the Python face."""
