"""L3, edited: a language model names what to change in a document, and a guarded executor changes it."""
