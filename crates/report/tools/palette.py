"""Makes the categorical palette of `src/color.rs`.

Starts from six colours of Okabe and Ito (2008) and adds, one at a time, the colour that is farthest from all those
taken, where the distance is the smallest of the OKLab distances seen with normal vision and with simulated deuteranopia
and protanopia (Machado, Oliveira & Fernandes 2009, severity 1). Needs numpy.
"""

import numpy as np

START = ["0072B2", "E69F00", "009E73", "D55E00", "CC79A7", "56B4E9"]
SIZE = 40
DEUTAN = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
PROTAN = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])


def linear(s):
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    m1 = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                   [0.0883024619, 0.2817188376, 0.6299787005]])
    m2 = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                   [0.0259040371, 0.7827717662, -0.8086757660]])
    return np.cbrt(np.clip(rgb @ m1.T, 0, None)) @ m2.T


def views(srgb):
    lin = linear(srgb)
    return [oklab(lin), oklab(np.clip(lin @ DEUTAN.T, 0, 1)), oklab(np.clip(lin @ PROTAN.T, 0, 1))]


steps = np.arange(0, 256, 8) / 255
grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
lab = oklab(linear(grid))
chroma = np.hypot(lab[:, 1], lab[:, 2])
grid = grid[(lab[:, 0] > 0.36) & (lab[:, 0] < 0.87) & (chroma > 0.05) & (chroma < 0.17)]

taken = np.array([[int(h[i : i + 2], 16) / 255 for i in (0, 2, 4)] for h in START])
candidates = views(grid)
# Lightness differences count a little less than hue: two shades of one hue are easily confused in a scatter.
weight = np.array([0.8, 1.0, 1.0])


def distance(a, b):
    return np.sqrt((((a[:, None] - b[None]) * weight) ** 2).sum(-1))


while len(taken) < SIZE:
    nearest = np.min([distance(c, t).min(1) * f for c, t, f in zip(candidates, views(taken), (0.8, 1.0, 1.0))], axis=0)
    taken = np.vstack([taken, grid[nearest.argmax()]])

for n in (8, 12, 20, 30, 40):
    worst = []
    for v in views(taken[:n]):
        d = distance(v, v)
        np.fill_diagonal(d, 9)
        worst.append(round(float(d.min()), 4))
    print(n, worst)
print([f"{int(round(r * 255)):02X}{int(round(g * 255)):02X}{int(round(b * 255)):02X}" for r, g, b in taken])
