"""What users write and read, and every name that leaves the operator. Pure: no I/O, no clock, no environment.

Used by all layers above. Types are frozen and inert; `crd.py` generates the CRD from them.
"""
