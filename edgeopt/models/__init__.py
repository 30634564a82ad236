"""Loading Keras models of both flavours; the only place that picks one."""
