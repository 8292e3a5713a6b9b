"""Explains where a quantized file loses accuracy: by cause and by layer."""
