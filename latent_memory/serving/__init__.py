"""A memory behind HTTP: an OpenAI-compatible chat endpoint whose answers cite their evidence."""
