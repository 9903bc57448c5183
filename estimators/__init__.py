"""Samples to a number: one family per file."""
