"""Cuts sorted events into windows: one module for each window kind."""
