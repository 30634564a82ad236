"""From a Keras model to the SavedModel that the converter reads; imports what `edgeopt.models` may."""
