"""A Keras model as one flat graph of either flavour, and the one runner of such graphs.

This room imports what `edgeopt.models` may.
"""
