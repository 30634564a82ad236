"""Between Keras 3 and tf_keras (Keras 2): the public face of `edgeopt.models.bridge`.

Custom Keras 3 layers need a counterpart before a pass that runs on TFMOT can take them:

    >>> edgeopt.bridge.register(Mine, MineTf)
"""

from __future__ import annotations

from .models.bridge import BridgeNote, BridgeResult, flatten, register, to_keras3, to_tf_keras
from .models.graph.compare import verify

__all__ = ["BridgeNote", "BridgeResult", "flatten", "register", "to_keras3", "to_tf_keras", "verify"]
