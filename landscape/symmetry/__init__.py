"""Symmetries of a network: what leaves its function as it is."""
