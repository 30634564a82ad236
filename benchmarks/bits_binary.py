"""The binary twin of a task's model, where tf.keras is Keras 2: python bits_binary.py TASK OUTPUT EPOCHS."""

from __future__ import annotations

import sys
from pathlib import Path

import tf_keras
from bits_rows import BATCH, TASKS

import edgeopt
from edgeopt.passes.binarize import Binarize
from edgeopt.training import PassContext, Training

RATE = 2e-3


def main() -> None:
    name, output, epochs = sys.argv[1:]
    task = TASKS[name]
    model = tf_keras.models.load_model(task.model, compile=False)
    context = PassContext(train=task.train(), loss="sparse_categorical_crossentropy")
    training = Training(epochs=int(epochs), batch_size=BATCH, learning_rate=RATE, learning_rate_schedule="cosine")
    result = Binarize(training=training).apply(model, context)
    print(result.report.to_dict()["binary"], result.report.history[-1], flush=True)
    Path(output).write_bytes(edgeopt.convert(result.model, quantize="float32", isolate=False).model)


if __name__ == "__main__":
    main()
