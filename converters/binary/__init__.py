"""Files of networks with binary layers: inputs and weights of one bit each.

`larq` imports Larq Compute Engine (the extra ``binary``), and only when it converts.
"""
