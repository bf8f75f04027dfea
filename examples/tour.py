"""A week of the course in an hour: from a bad network to a good one on real digits, by following the diagnosis.

    python examples/tour.py --data DIR [--out DIR]

DIR has the 10,000 test digits of MNIST as IDX files. `docs/tour.md` tells the story with pieces of this file, what they
print (kept in `docs/images/tour.json`) and their pictures. Rows 0 to 7999 are trained on, rows 8000 to 8999 (dev)
decide, and rows 9000 to 9999 (test) are looked at once a day and decide nothing.
"""

import argparse
import contextlib
import io
import json
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np

import stoop
from stoop import search
from stoop.augment import Augment

SEEDS = (0, 1, 2)
PEOPLE = 0.002  # the error of people on such digits; LeCun et al. 1995


def load(folder):
    """Return the digits in three parts: rows of 784 pixels from 0 to 255, and classes 0 to 9."""
    X = stoop.data.load_idx(folder / "t10k-images-idx3-ubyte.gz").reshape(-1, 784)
    y = stoop.data.load_idx(folder / "t10k-labels-idx1-ubyte.gz").astype(np.int64)
    train, dev, test = slice(0, 8000), slice(8000, 9000), slice(9000, 10000)
    return SimpleNamespace(train=(X[train], y[train]), dev=(X[dev], y[dev]), test=(X[test], y[test]))


def error(model_or_trainer, part):
    """Return the share of digits that are taken for another."""
    X, y = part
    model = getattr(model_or_trainer, "model", model_or_trainer)
    return float(np.mean(model.predict_proba(X).argmax(axis=1) != y))


def mean_error(trainers, part):
    """Return the mean error of networks that differ in their seed."""
    return float(np.mean([error(trainer, part) for trainer in trainers]))


def say(thing):
    """Print a finding or an advice in lines of at most 100 characters."""
    print("\n".join(textwrap.fill(line, 100) for line in str(thing).splitlines()))


# ---- Monday: look at the data, train something ----


def monday(digits, out):
    """Train a first network on the pixels as they are."""
    X, y = digits.train
    stoop.plotting.images(X[:40], path=out / "tour-digits.svg", columns=10)
    print("digits of each class:", np.bincount(y))
    print("pixels from", X.min(), "to", X.max())

    layers = [stoop.Dense(256, activation="relu"), stoop.Dense(128, activation="relu"), stoop.Dense(10)]
    trainer = stoop.Trainer(stoop.Model(layers, input_dim=784), optimizer=stoop.optimizers.SGD(0.1))
    trainer.fit(X, y, epochs=5, batch_size=64, verbose=0)
    print(f"training error {error(trainer, digits.train):.1%}, dev error {error(trainer, digits.dev):.1%}")

    report = stoop.diagnose.check(trainer, *digits.train, *digits.dev)
    say(report.findings[0])
    return [trainer]


# ---- Tuesday: the learning rate ----


def tuesday(digits, out):
    """Normalise the inputs, and find a learning rate."""
    layers = [stoop.Normalization(), *hidden((256, 128))]
    trainer = stoop.Trainer(stoop.Model(layers, input_dim=784), optimizer=stoop.optimizers.Adam(0.1))
    trainer.fit(*digits.train, epochs=5, batch_size=64, verbose=0)
    print(f"training error {error(trainer, digits.train):.1%}, dev error {error(trainer, digits.dev):.1%}")
    say(stoop.diagnose.check(trainer, *digits.train, *digits.dev).findings[0])

    fresh = stoop.Trainer(stoop.Model(layers, input_dim=784))
    found = fresh.find_learning_rate(*digits.train, batch_size=64)
    found.plot(out / "tour-learning-rates.svg")
    print(f"suggestion: {found.suggestion:.1e}")

    plain = train(digits, lambda seed: stoop.Model(layers, input_dim=784, seed=seed))
    table(digits, {"256-128, normalised": plain})
    return plain


def hidden(units, *, batch_norm=False, dropout=0.0):
    """Return hidden layers with ReLU, and the output layer."""
    layers = []
    for width in units:
        layers.append(stoop.Dense(width))
        if batch_norm:
            layers.append(stoop.BatchNorm())
        layers.append(stoop.ReLU())
        if dropout:
            layers.append(stoop.Dropout(dropout))
    return [*layers, stoop.Dense(10)]


def train(digits, build, *, epochs=20, rate=1e-3, augment=None, callbacks=None, seeds=SEEDS, **settings):
    """Return trained networks, one for each seed; the learning rate falls along half a cosine."""
    steps = epochs * len(digits.train[0]) // 64
    trainers = []
    for seed in seeds:
        optimizer = stoop.optimizers.Adam(stoop.schedules.Cosine(rate, steps))
        trainers.append(stoop.Trainer(build(seed), optimizer=optimizer, seed=seed, **settings))
    how = {"epochs": epochs, "batch_size": 64, "augment": augment, "callbacks": callbacks, "verbose": 0}
    stoop.fit_many(trainers, *digits.train, validation_data=digits.dev, **how)
    return trainers


def table(digits, steps):
    """Print the errors of each step, means over the seeds, and the dev loss: it tells more of few mistakes."""
    print(f"{'':<28}{'training':>9}{'dev':>8}  {'from':>6}{'to':>7}{'dev loss':>10}")
    for name, trainers in steps.items():
        each = [error(trainer, digits.dev) for trainer in trainers]
        losses = [trainer.evaluate(*digits.dev, metrics=["log_loss"])["log_loss"] for trainer in trainers]
        trained = mean_error(trainers, digits.train)
        spread = f"{min(each):>6.1%}{max(each):>7.1%}"
        print(f"{name:<28}{trained:>9.2%}{np.mean(each):>8.2%}  {spread}{np.mean(losses):>10.3f}")


# ---- Wednesday: bias or variance, and what the mistakes have in common ----


def wednesday(digits, out, plain):
    """Ask the recipe, and look at the mistakes."""
    trained, dev = mean_error(plain, digits.train), mean_error(plain, digits.dev)
    say(stoop.diagnose.recipe(train_error=trained, dev_error=dev, target_error=PEOPLE))

    model = plain[0].model
    shift, scale = model.buffers()["0.shift"], model.buffers()["0.scale"]

    def largest_input(X):
        return np.abs((X - shift) * scale).max(axis=1)

    cut = np.digitize(largest_input(digits.dev[0]), [10, 20, 40])
    sizes = np.array(["1. below 10", "2. 10 to 20", "3. 20 to 40", "4. above 40"])[cut]
    analysis = stoop.diagnose.errors(model, *digits.dev, slices={"largest input": sizes}, image_shape=(28, 28))
    for group in analysis.slices["largest input"]:
        print(f"{group.name:<14}{group.samples:>5} digits{group.error:>8.1%} wrong{group.share:>6.0%} of all errors")
    pictures = {name: figure for name, _, figure in analysis.pictures()}
    pictures["slice"].savefig(out / "tour-slices.svg")
    pictures["mistakes"].savefig(out / "tour-mistakes.svg")

    clipped = [stoop.Normalization(clip=3.0), *hidden((256, 128))]
    steps = {
        "each pixel by its own": plain,
        "and clipped": train(digits, lambda seed: stoop.Model(clipped, input_dim=784, seed=seed)),
        "all pixels alike": train(digits, lambda seed: alike(digits, hidden((256, 128)), seed)),
    }
    table(digits, steps)
    return steps["all pixels alike"]


def alike(digits, layers, seed=0):
    """Return a model that shifts and scales all pixels alike."""
    pixels = digits.train[0].astype(np.float32)
    mean, std = float(pixels.mean()), float(pixels.std())
    return stoop.Model(layers, input_dim=784, seed=seed, input_scale=1 / std, input_shift=-mean / std)


# ---- Thursday: variance ----

MOVED = Augment(shift=2.0, rotate=15.0, zoom=0.15, shear=10.0, fill=0.0)
BENT = Augment(shift=2.0, rotate=15.0, zoom=0.15, shear=10.0, elastic=(12.0, 3.0), fill=0.0)


def thursday(digits, out, before):
    """Try what helps against variance, one thing at a time."""
    X, y = digits.train
    sizes = (500, 1000, 2000, 4000, 8000)
    how = {"validation_data": digits.dev, "repeats": 2, "epochs": 20, "batch_size": 64, "verbose": 0}
    curve = stoop.diagnose.learning_curve(lambda seed: quick(digits, seed), X, y, sizes, **how)
    curve.plot(out / "tour-samples.svg")
    stoop.plotting.images(BENT(np.repeat(X[:4], 10, axis=0)), path=out / "tour-bent.svg", columns=10)

    def network(seed, **how):
        return alike(digits, hidden((256, 128), **how), seed)

    steps = {
        "before": before,
        "early stopping": train(digits, network, callbacks=stop_early),
        "l2": train(digits, network, l2=1e-3),
        "dropout": train(digits, lambda seed: network(seed, dropout=0.3)),
        "batch normalisation": train(digits, lambda seed: network(seed, batch_norm=True)),
        "moved images": train(digits, network, augment=MOVED),
        "moved and bent images": train(digits, network, augment=BENT),
    }
    table(digits, steps)
    return steps["moved and bent images"]


def quick(digits, seed):
    """Return a trainer for the learning curve."""
    return stoop.Trainer(alike(digits, hidden((256, 128)), seed), optimizer=stoop.optimizers.Adam(1e-3), seed=seed)


def stop_early(_):
    """Return the callbacks of a network: it keeps its best epoch, and ends ten epochs after it."""
    return [stoop.callbacks.EarlyStopping(patience=10)]


# ---- Friday: bias ----


def friday(digits, out, before):
    """Ask the recipe again: now the network is too small."""
    trained, dev = mean_error(before, digits.train), mean_error(before, digits.dev)
    say(stoop.diagnose.recipe(train_error=trained, dev_error=dev, target_error=PEOPLE, tolerance=0.003))
    before[0].history.plot(out / "tour-bias.svg")

    def network(seed, **how):
        return alike(digits, hidden((512, 256), **how), seed)

    steps = {
        "before": before,
        "512-256": train(digits, network, augment=BENT),
        "and batch normalisation": train(digits, lambda seed: network(seed, batch_norm=True), augment=BENT),
        "and dropout": train(digits, lambda seed: network(seed, batch_norm=True, dropout=0.2), augment=BENT),
    }
    table(digits, steps)
    return steps["and dropout"]


# ---- Saturday: search ----

SPACE = {
    "rate": search.log_uniform(3e-4, 1e-2),
    "units": search.choice([256, 512, 768]),
    "batch_norm": search.choice([False, True]),
    "dropout": search.uniform(0.0, 0.4),
}


def saturday(digits, out):
    """Search the learning rate, the size and the dropout."""

    def build(params):
        steps = 27 * len(digits.train[0]) // 64
        optimizer = stoop.optimizers.Adam(stoop.schedules.Cosine(params["rate"], steps))
        return stoop.Trainer(chosen(digits, params), optimizer=optimizer)

    how = {"method": "halving", "trials": 27, "epochs": 27, "batch_size": 64, "augment": BENT, "verbose": 0}
    result = search.run(build, SPACE, *digits.train, validation_data=digits.dev, **how)
    print(result)
    result.plot(out / "tour-search.svg")
    return [result.trainer], result.best_params


def chosen(digits, params, seed=0):
    """Return a model of these parameters."""
    units = (params["units"], params["units"] // 2)
    return alike(digits, hidden(units, batch_norm=params["batch_norm"], dropout=params["dropout"]), seed)


# ---- Sunday: an ensemble, the report, and the file ----


def sunday(digits, out, best):
    """Train twice as long with five seeds, and put them together."""
    how = {"epochs": 40, "rate": best["rate"], "augment": BENT, "callbacks": stop_early, "seeds": range(5)}
    trainers = train(digits, lambda seed: chosen(digits, best, seed), **how)
    table(digits, {"40 epochs": trainers})
    ensemble = stoop.Ensemble([trainer.model for trainer in trainers])
    print(f"together: dev error {error(ensemble, digits.dev):.2%}")

    report = stoop.diagnose.check(trainers[0], *digits.train, *digits.dev, target_error=PEOPLE, image_shape=(28, 28))
    print(report.summary())
    report.to_html(out / "digits.html")
    ensemble.save(out / "digits.safetensors")
    again = stoop.load_ensemble(out / "digits.safetensors")
    print("the first test digits:", again.predict_proba(digits.test[0][:10]).argmax(axis=1), digits.test[1][:10])
    return trainers, ensemble


# ---- the whole week ----


class Week:
    """Runs one day after the other, and keeps what they print and their errors."""

    def __init__(self, digits):
        self.digits, self.printed, self.errors = digits, {}, {}

    def day(self, step, *arguments):
        """Run a day; return what it returns."""
        name, page = step.__name__, io.StringIO()
        with contextlib.redirect_stdout(page):
            result = step(self.digits, *arguments)
        self.printed[name] = page.getvalue()
        trainers = result[0] if isinstance(result, tuple) else result
        self.note(name, mean_error(trainers, self.digits.dev), mean_error(trainers, self.digits.test))
        sys.stdout.write(f"\n{name}\n\n{page.getvalue()}")
        sys.stdout.flush()
        return result

    def note(self, name, dev, test):
        """Keep the errors of a step."""
        self.errors[name] = {"dev": round(dev, 5), "test": round(test, 5)}


def main(data, out):
    """Go through the week, and write what it says and draws."""
    out.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "stoop", "font.family": "sans-serif"})
    week = Week(load(data))
    week.day(monday, out)
    plain = week.day(tuesday, out)
    scaled = week.day(wednesday, out, plain)
    augmented = week.day(thursday, out, scaled)
    week.day(friday, out, augmented)
    _, best = week.day(saturday, out)
    _, ensemble = week.day(sunday, out, best)
    week.note("ensemble", error(ensemble, week.digits.dev), error(ensemble, week.digits.test))
    lines = [f"{'':<12}{'dev error':>10}{'test error':>12}"]
    lines += [f"{name:<12}{each['dev']:>10.2%}{each['test']:>12.2%}" for name, each in week.errors.items()]
    week.printed["week"] = "\n".join(lines) + "\n"
    sys.stdout.write("\n" + week.printed["week"])
    text = json.dumps({"printed": week.printed, "errors": week.errors}, indent=1)
    (out / "tour.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="DIR", type=Path, required=True)
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("tour"))
    given = parser.parse_args()
    main(given.data, given.out)
