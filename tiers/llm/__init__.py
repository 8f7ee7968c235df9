"""Language models behind one protocol: back ends, request cache, and where their weights come from."""
