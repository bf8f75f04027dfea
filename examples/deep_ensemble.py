"""A deep ensemble knows better than one network what it does not know: Lakshminarayanan, Pritzel & Blundell 2017.

    python examples/deep_ensemble.py [--plot FILE]

Networks learn a mean and a variance for every x (the loss GaussianNLL) from samples of a sine whose noise grows towards
the ends. Then new samples are counted that lie within the central intervals which the predictions give: of one network
(the mean over ten), and of the ensemble of the ten, within the range of the training data and beyond it.
"""

import argparse
from statistics import NormalDist

import numpy as np

import stoop

LEVELS = (0.5, 0.8, 0.9, 0.95)
MEMBERS, EDGE, FAR = 10, 4.0, 6.0


def noise(x):
    """Return the standard deviation of y."""
    return 0.2 + 0.15 * np.abs(x)


def sample(rng, x):
    """Return y for each x."""
    return 2.0 * np.sin(1.5 * x) + noise(x) * rng.standard_normal(x.shape)


def build(i):
    """Return trainer number i."""
    layers = [stoop.Dense(64, activation="relu"), stoop.Dense(64, activation="relu"), stoop.Dense(2)]
    model = stoop.Model(layers, input_dim=1, seed=i, input_scale=1 / 2)
    return stoop.Trainer(model, loss="gaussian_nll", optimizer=stoop.optimizers.Adam(5e-3), seed=i)


def learn(rng):
    """Return the ensemble, trained on x within [-EDGE, EDGE]."""
    x = rng.uniform(-EDGE, EDGE, (1000, 1))
    trainers = [build(i) for i in range(MEMBERS)]
    stoop.fit_many(trainers, x, sample(rng, x), epochs=100, batch_size=50, verbose=0)
    return stoop.Ensemble([trainer.model for trainer in trainers])


def coverage(mean, variance, y):
    """Return the share of y within the central interval of each level."""
    distance = np.abs(y - mean) / np.sqrt(variance)
    return np.array([np.mean(distance < NormalDist().inv_cdf(0.5 + level / 2)) for level in LEVELS])


def compare(ensemble, rng, x):
    """Return the coverage of one network, as the mean over all, and of the ensemble, for new y at these x."""
    y = sample(rng, x)
    outputs = ensemble.predict(x)  # (members, samples, 2): means and log variances
    alone = np.mean([coverage(out[:, :1], np.exp(out[:, 1:]), y) for out in outputs], axis=0)
    return alone, coverage(*ensemble.predict_gaussian(x), y)


def main(plot=None):
    """Print the coverage, and check what the first lines say."""
    rng = np.random.default_rng(0)
    ensemble = learn(rng)
    inside = rng.uniform(-EDGE, EDGE, (4000, 1))
    beyond = rng.uniform(EDGE, FAR, (4000, 1)) * rng.choice([-1, 1], (4000, 1))
    found = {"inside": compare(ensemble, rng, inside), "beyond": compare(ensemble, rng, beyond)}
    print("central interval    " + "".join(f"{level:7.0%}" for level in LEVELS))
    for place, (alone, together) in found.items():
        print(f"{place}, one network " + "".join(f"{share:7.1%}" for share in alone))
        print(f"{place}, ensemble    " + "".join(f"{share:7.1%}" for share in together))
    (alone, together), (alone_beyond, together_beyond) = found.values()
    # Within the range both are near; there an ensemble is a little less sure than it could be.
    assert np.abs(alone - LEVELS).max() < 0.08
    assert np.abs(together - LEVELS).max() < 0.1
    assert alone_beyond[-1] < 0.85  # one network is too sure of what it has not seen,
    assert together_beyond[-1] > alone_beyond[-1] + 0.05  # the ensemble less
    if plot:
        draw(ensemble, plot)


def draw(ensemble, path):
    """Draw the means, one band of two standard deviations of a network, and that of the ensemble."""
    import matplotlib.pyplot as plt

    x = np.linspace(-FAR, FAR, 500)[:, None]
    mean, variance = ensemble.predict_gaussian(x)
    own = ensemble[0].predict(x)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    bands = {"one network": (own[:, :1], np.exp(own[:, 1:])), f"ensemble of {len(ensemble)}": (mean, variance)}
    for ax, (title, (center, spread)) in zip(axes, bands.items()):
        low, high = (center + sign * 2 * np.sqrt(spread) for sign in (-1, 1))
        ax.fill_between(x[:, 0], low[:, 0], high[:, 0], alpha=0.3, label="two standard deviations")
        ax.plot(x, center, label="mean")
        ax.plot(x, 2.0 * np.sin(1.5 * x), "k:", label="truth")
        ax.axvspan(-EDGE, EDGE, color="0.5", alpha=0.1, label="trained on")
        ax.set(title=title, ylim=(-8, 8), xlabel="x")
    axes[0].legend(loc="lower left", fontsize="small")
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", metavar="FILE")
    main(parser.parse_args().plot)
