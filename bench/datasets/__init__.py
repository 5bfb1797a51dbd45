"""Generators of the data sets, with fixed seeds."""
