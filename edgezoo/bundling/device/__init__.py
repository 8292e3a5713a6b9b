"""Programs that `edgezoo bundle` copies to a device, as they are; they import nothing of EdgeZoo.

They run on Python 3.9 and newer with numpy, Pillow and one TFLite runtime.
"""
