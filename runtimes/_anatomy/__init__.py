"""How each format stores its quantization: a module named as the runtime, ending in READER."""
