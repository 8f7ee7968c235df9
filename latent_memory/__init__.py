"""One token per evidence: compressor → LanceDB → answers."""
