"""Which images a model is calibrated on, the ranges they give, and what is done to the network.

All of it happens before a quantizer sees the network, serves all formats and knows none of
their quantizers.
"""
