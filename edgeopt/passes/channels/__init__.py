"""Structured removal of filters and neurons, with everything that depends on them."""
