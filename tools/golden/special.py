"""Golden values of lgamma, digamma and the count likelihoods, from mpmath at 60 digits.

Arguments are numbers that float32 holds exactly, so that a float32 routine can
be judged without the rounding of its argument.
"""

import numpy as np
from mpmath import digamma, exp, log, log1p, loggamma, mp, mpf

import fixture

mp.dps = 60
SCRIPT = "special.py"
PACKAGES = ["mpmath", "numpy"]


def f32(values):
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def table(function, x):
    return np.array([float(function(mpf(float(v)))) for v in x])


def gamma_functions():
    x = np.concatenate(
        [
            10.0 ** np.linspace(-30, 30, 121),
            np.linspace(0.01, 4.0, 400),
            1 + np.array([-1, 1])[:, None].repeat(12, 1).ravel() * np.tile(2.0 ** -np.arange(2, 24, 1.9), 2),
            2 + np.array([-1, 1])[:, None].repeat(12, 1).ravel() * np.tile(2.0 ** -np.arange(2, 23, 1.9)[:12], 2),
            1.4616321449683623 + np.linspace(-1e-3, 1e-3, 21),
            np.arange(1, 60) / 2,
            np.array([170.0, 171.5, 1e3, 12345.678, 1e5, 1e6, 16777216.0]),
        ]
    )
    x = np.unique(f32(x))
    x = x[x > 0]
    tensors = {"x": x, "lgamma": table(lambda v: loggamma(v).real, x), "digamma": table(digamma, x)}
    # lgamma(x + θ) − lgamma(θ), the difference the likelihood needs, and its θ derivative.
    counts = np.array([1, 2, 3, 7, 30, 500, 20000], dtype=float)
    theta = f32(10.0 ** np.linspace(-6, 8, 43))
    grid_x, grid_t = (g.ravel() for g in np.meshgrid(counts, theta, indexing="ij"))
    pairs = [(mpf(float(a)), mpf(float(t))) for a, t in zip(grid_x, grid_t)]
    tensors["ratio.x"], tensors["ratio.theta"] = grid_x, grid_t
    tensors["ratio.lgamma"] = np.array([float(loggamma(a + t) - loggamma(t)) for a, t in pairs])
    tensors["ratio.digamma"] = np.array([float(digamma(a + t) - digamma(t)) for a, t in pairs])
    fixture.write("gamma_functions", tensors, {"digits": mp.dps}, PACKAGES, SCRIPT)


EPS = mpf("1e-8")


def softplus(v):
    return log1p(exp(v)) if v < 0 else v + log1p(exp(-v))


def sigmoid(v):
    return 1 / (1 + exp(-v))


def negative_binomial(x, mu, theta):
    """Log-likelihood and its derivatives by mu and theta."""
    both = theta + mu + EPS
    value = (
        theta * (log(theta + EPS) - log(both))
        + x * (log(mu + EPS) - log(both))
        + loggamma(x + theta) - loggamma(theta) - loggamma(x + 1)
    )
    by_mu = -theta / both + x / (mu + EPS) - x / both
    by_theta = (
        log(theta + EPS) - log(both) + theta / (theta + EPS) - theta / both - x / both
        + digamma(x + theta) - digamma(theta)
    )
    return value, by_mu, by_theta


def zero_inflated(x, mu, theta, pi):
    """As above with dropout logits, and the derivative by the logits."""
    both = theta + mu + EPS
    if x > 0:
        value, by_mu, by_theta = negative_binomial(x, mu, theta)
        return value - pi - softplus(-pi), by_mu, by_theta, -1 + sigmoid(-pi)
    t = -pi + theta * (log(theta + EPS) - log(both))
    value = softplus(t) - softplus(-pi)
    s = sigmoid(t)
    by_mu = s * (-theta / both)
    by_theta = s * (log(theta + EPS) - log(both) + theta / (theta + EPS) - theta / both)
    return value, by_mu, by_theta, -s + sigmoid(-pi)


def likelihoods():
    x = [0, 1, 2, 5, 40, 3000]
    mu = f32([1e-8, 1e-4, 0.03, 0.7, 1.0, 4.5, 120.0, 5e3])
    theta = f32([1e-4, 0.02, 0.5, 1.0, 7.0, 300.0, 1e5])
    pi = f32([-12.0, -1.5, 0.0, 0.8, 9.0])
    grid = [g.ravel() for g in np.meshgrid(x, mu, theta, indexing="ij")]
    rows = [negative_binomial(*(mpf(float(v)) for v in row)) for row in zip(*grid)]
    tensors = dict(zip(("nb.x", "nb.mu", "nb.theta"), (np.asarray(g, float) for g in grid)))
    for name, column in zip(("value", "by_mu", "by_theta"), zip(*rows)):
        tensors[f"nb.{name}"] = np.array([float(v) for v in column])
    grid = [g.ravel() for g in np.meshgrid([0, 1, 40], mu[1::2], theta[::2], pi, indexing="ij")]
    rows = [zero_inflated(*(mpf(float(v)) for v in row)) for row in zip(*grid)]
    tensors.update(
        zip(("zinb.x", "zinb.mu", "zinb.theta", "zinb.pi"), (np.asarray(g, float) for g in grid))
    )
    for name, column in zip(("value", "by_mu", "by_theta", "by_pi"), zip(*rows)):
        tensors[f"zinb.{name}"] = np.array([float(v) for v in column])
    fixture.write("count_likelihoods", tensors, {"eps": 1e-8, "digits": mp.dps}, PACKAGES, SCRIPT)


if __name__ == "__main__":
    gamma_functions()
    likelihoods()
