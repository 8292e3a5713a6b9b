"""Programs that `edgezoo bundle` copies to a device unchanged; they do not import EdgeZoo.

They run on Python 3.9 and newer with numpy, Pillow and one TFLite runtime.
"""
