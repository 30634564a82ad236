"""The part that runs on the board: stdlib, numpy and a TFLite runtime, Python 3.7 or later.

The modules of this package are packed into one file, ``edgeopt-agent.pyz`` (see `edgeopt.devices.pack`). They import
only each other, relatively, because in that file the package has another name. Only the modules that a worker loads
(see `supervisor`) import numpy, and only `runtimes` imports a TFLite runtime, inside a function.
"""
