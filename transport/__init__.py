"""Transport distances, and whatever moves samples."""
