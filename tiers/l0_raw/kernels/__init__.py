"""Compiled loops over the bytes of pages, in UTF-8 or another encoding that extends ASCII."""
