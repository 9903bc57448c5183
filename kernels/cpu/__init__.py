"""Numba twins."""

from divmatch.kernels.cpu.pairwise import TILE_COLUMNS, TILE_ROWS, tile

__all__ = ["TILE_COLUMNS", "TILE_ROWS", "tile"]
