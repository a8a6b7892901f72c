"""Text in, examples out: everything that happens to sentences before a model sees numbers."""
