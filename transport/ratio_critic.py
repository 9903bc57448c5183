"""ln of the density ratio of two samples by logistic regression on squares and Gaussian kernels."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CENTRES = 100  # Gaussian kernels, at most
PRODUCTS = 20  # columns up to which all products of two are features; beyond, squares
RIDGE = 1e-3  # of the coefficients, in units of a row's loss
NEWTON = 10  # steps, at most: the next fit goes on from there
SMALL = 1e-8  # of the gradient, where the fit stops


class Critic:
    """h(z) = θ·φ(z) ≈ ln p/q; φ are 1, z, products of columns, and kernels around rows of both samples."""

    def __init__(self, start: Array, target: Array) -> None:
        pooled = np.concatenate([rows[:: -(-2 * len(rows) // CENTRES)] for rows in (target, start)])
        squares = _squares(pooled, pooled)[np.triu_indices(len(pooled), 1)]
        self.narrow = 1.0 / (float(np.median(squares)) or 1.0)
        self.centres = pooled
        d = target.shape[1]
        self.pairs = np.triu_indices(d) if d <= PRODUCTS else (np.arange(d), np.arange(d))
        many, k = 1 + d + len(self.pairs[0]), len(pooled)
        self.ridge = np.full(many + k, RIDGE)
        self.ridge[0] = 0.0
        self.theta = np.zeros(many + k)

    def features(self, z: Array) -> Array:
        """φ, shape (n, k)."""
        left, right = self.pairs
        kernels = np.exp(-0.5 * self.narrow * _squares(z, self.centres))
        return np.column_stack([np.ones(len(z)), z, z[:, left] * z[:, right], kernels])

    def fit(self, x: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
        """Newton's method on the logistic loss with classes of equal weight; h of x and y, φ of x."""
        of_x, of_y = self.features(x), self.features(y)
        rows, weights = np.concatenate([of_x, of_y]), np.concatenate([a, b])
        signs = np.concatenate([np.ones(len(x)), -np.ones(len(y))])

        def lost(theta: Array) -> tuple[float, Array]:
            margins = signs * (rows @ theta)
            loss = weights @ np.logaddexp(0.0, -margins) + 0.5 * self.ridge @ theta**2
            return float(loss), margins

        theta, (loss, margins) = self.theta, lost(self.theta)
        if not loss < 2.0 * math.log(2.0):  # worse than knowing nothing
            theta = np.zeros_like(theta)
            loss, margins = lost(theta)
        for _ in range(NEWTON):
            wrong = weights * _logistic(-margins)
            slope = -(signs * wrong) @ rows + self.ridge * theta
            if np.abs(slope).max() < SMALL:
                break
            curved = (rows * (wrong * _logistic(margins))[:, None]).T @ rows
            curved[np.diag_indices_from(curved)] += self.ridge + 1e-12 * np.trace(curved)
            step = np.linalg.solve(curved, -slope)
            found, beyond = lost(theta + step)
            while not found < loss and np.abs(step).max() > SMALL:
                step = step / 2
                found, beyond = lost(theta + step)
            if not found < loss:
                break
            theta, loss, margins = theta + step, found, beyond
        self.theta = theta
        return of_x @ theta, of_y @ theta, of_x

    def slopes(self, z: Array, features: Array) -> Array:
        """∇h at the rows, shape (n, d)."""
        d, (left, right) = z.shape[1], self.pairs
        linear = self.theta[1 : 1 + d]
        products = self.theta[1 + d : 1 + d + len(left)]
        matrix = np.zeros((d, d))
        matrix[left, right] += products
        matrix[right, left] += products
        kernels = features[:, -len(self.centres) :] * self.theta[-len(self.centres) :]
        pulls = kernels @ self.centres - kernels.sum(axis=1)[:, None] * z
        return np.asarray(linear + z @ matrix + self.narrow * pulls)


def _squares(x: Array, y: Array) -> Array:
    """|xᵢ − yⱼ|², at least 0."""
    norms = np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", y, y)
    return np.asarray((norms - 2.0 * x @ y.T).clip(0.0))


def _logistic(z: Array) -> Array:
    """1 / (1 + exp(−z)), never overflowing."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))
