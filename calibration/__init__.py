"""Which images a model is calibrated on, what ranges they give, and what is done to the float
network before a quantizer sees it. Serves all formats; knows none of their quantizers.
"""
