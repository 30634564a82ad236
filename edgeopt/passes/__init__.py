"""Keras -> Keras compression passes, one technique a module; `base` is the protocol that they share."""
