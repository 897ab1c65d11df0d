"""Dataset formats that are read, one module each."""
