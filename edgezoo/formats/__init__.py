"""Readers of file formats that know no network: TFLite, Keras, PyTorch checkpoints."""
