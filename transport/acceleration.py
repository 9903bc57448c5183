"""Anderson acceleration of a fixed-point iteration."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DEPTH = 8  # steps remembered: 5 to 20 need as many sweeps at the usual regularisation
RIDGE = 1e-10
ASTRAY = 10.0  # times the least error so far: an extrapolation that led away is taken back


class Anderson:
    """From the last steps of g → T(g), the combination whose linear model has the smallest residual.

    Anderson 1965; Walker & Ni 2011, SIAM J. Numer. Anal. 49. It forgets all when the error doubles,
    and goes on from the best step where the error is many times as large, or no number.
    """

    def __init__(self, weights: Array) -> None:
        self.roots = np.sqrt(weights)
        self.images: list[Array] = []
        self.residuals: list[Array] = []
        self.last = np.inf
        self.best: tuple[float, Array] | None = None  # least error, and the image of that step

    def next(self, g: Array, image: Array, error: float) -> Array:
        """Where to go on from g, whose image under the iteration and whose error are known."""
        if self.best is not None and not error < ASTRAY * self.best[0]:
            image = self.best[1]
            self.images, self.residuals, self.last, self.best = [], [], np.inf, None
            return image
        if self.best is None or error < self.best[0]:
            self.best = error, image
        if error > 2.0 * self.last:
            self.images, self.residuals = [], []
        self.last = error
        self.images = [*self.images[-DEPTH:], image]
        self.residuals = [*self.residuals[-DEPTH:], (image - g) * self.roots]
        if len(self.images) == 1:
            return image
        steps = np.diff(self.residuals, axis=0)
        gram = steps @ steps.T
        gram.flat[:: len(gram) + 1] += RIDGE * np.trace(gram) / len(gram) + 1e-300
        shares = np.linalg.solve(gram, steps @ self.residuals[-1])
        made = image - shares @ np.diff(self.images, axis=0)
        return made if np.isfinite(made).all() else image
