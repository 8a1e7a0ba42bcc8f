"""The words that `export` takes."""

FORMATS = ("saved_model", "tflite", "c")
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")
MODES = ("sequence", "stream")
TARGETS = ("cpu", "micro")
FORMS = ("auto", "fused", "step", "while", "unrolled")
