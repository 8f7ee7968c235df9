"""Synthesis: what language models write from documents, and the gates that it passes."""
