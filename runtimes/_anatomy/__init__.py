"""Where each format keeps its quantization: a module named as the runtime, ending in READER."""
