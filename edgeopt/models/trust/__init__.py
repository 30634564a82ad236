"""What a model file may name: it is read here, as data, before Keras or TensorFlow see it.

A configuration is a program in disguise: it names classes and functions, which Keras looks up, imports and calls. The
safe mode of Keras differs between its versions and flavours, so edgeopt does not rely on it. A closed list of names is
accepted (`names`, `tables`), what the user has registered, and nothing else; the operators of a SavedModel that touch
files, processes or Python are refused (`graphs`).
"""

from .files import check_file
from .graphs import check_graphs

__all__ = ["check_file", "check_graphs"]
