"""Files whose convolutions and fully connected layers have 4-bit weights.

`litert` makes them with litert-quantizer (the extra ``low-bit``, imported when it quantises), from ranges that were
measured here; `packing` makes them of models that were trained for it; `weights` knows the stored form.
"""
