"""Compiled cores: numbers in, numbers out."""
