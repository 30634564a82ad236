"""The part that runs on the board: stdlib, numpy and a TFLite runtime, Python 3.7 or later."""
