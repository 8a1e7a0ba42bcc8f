"""Running and streaming a ``.tflite`` on the device with NumPy and LiteRT (``pip install ai-edge-litert``), without Keras.

model = EdgeModel("model.tflite")
model.predict(x)                                # (batch, time, features) → (batch, classes)
stream = model.stream(smooth=5, threshold=0.8)
stream.push(event)                              # one event at a time; STM and LTM persist between calls
"""

from keras_gates.edge.model import EdgeModel
from keras_gates.edge.stream import Detection, Stream
from keras_gates.edge.tflite import EdgeError

__all__ = ["Detection", "EdgeError", "EdgeModel", "Stream"]
