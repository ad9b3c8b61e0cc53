"""Batch inference: what a model says of each user of a log, by one of its signatures, on Beam (`footfall score` and others)."""
