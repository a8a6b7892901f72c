"""A stand-in for TF Serving, for machines without it: the same REST and gRPC interface, on the same graph execution.

It is for development and tests, not TF Serving: no TLS, no classification or regression, one process of Python.
"""
