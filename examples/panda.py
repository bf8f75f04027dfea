"""Babysits one model, as a panda its only cub: after every few epochs it looks at the curves and turns a knob.

    python examples/panda.py [--plot FILE]

Where the machine can train many models at once, `stoop.search` is better. With one large model one watches it
instead, and changes what can be changed while it trains: `Trainer.set` between two calls of `fit`. The history keeps
the changes, and the learning curve marks them.
"""

import argparse

import numpy as np

import stoop

DAYS, EPOCHS = 8, 5  # looks at the curves, and epochs from one to the next


def make_data(rng, samples):
    """Return points of three spirals, and the spiral of each; some are of another than they seem."""
    y = rng.integers(3, size=samples)
    radius = np.sqrt(rng.random(samples))
    angle = 5.0 * radius + y * 2.0 * np.pi / 3.0
    X = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1) + 0.04 * rng.standard_normal((samples, 2))
    wrong = rng.random(samples) < 0.05
    return X, np.where(wrong, rng.integers(3, size=samples), y)


def look(day, history):
    """Return what to set after a day, and why."""
    loss, dev = history["loss"], history["val_loss"]
    rate, before = history["learning_rate"][-1], loss[-1 - EPOCHS] if day > 1 else None
    penalised = [change["epoch"] for change in history.changes if "l2" in change]
    if penalised and penalised[-1] > history.epochs[-1] - EPOCHS:
        return "the penalty has come into the loss: wait a day", {}
    if before is not None and loss[-1] > before:
        return "the loss rises: the steps are too long", {"learning_rate": rate / 4.0}
    if before is not None and loss[-1] > 0.97 * before:
        return "the loss hardly falls: shorter steps settle deeper", {"learning_rate": rate / 2.0}
    if dev[-1] > 1.3 * loss[-1] and not penalised:
        return "the dev loss does not follow: the network learns by heart", {"l2": 2e-3}
    return "it learns", {}


def babysit(trainer, train, dev):
    """Train for some days, and return the whole history."""
    whole = []
    for day in range(1, DAYS + 1):
        whole.append(trainer.fit(*train, epochs=EPOCHS, batch_size=32, validation_data=dev, verbose=0))
        history = sum(whole)
        why, settings = look(day, history)
        told = ", ".join(f"{name} = {value:.3g}" for name, value in settings.items()) or "nothing is changed"
        print(
            f"day {day}: loss {history['loss'][-1]:.3f}, dev loss {history['val_loss'][-1]:.3f}, "
            f"dev accuracy {history['val_accuracy'][-1]:.1%}; {why}; {told}"
        )
        if day < DAYS:
            trainer.set(**settings)
    return sum(whole)


def main(plot=None):
    """Train with a first rate that is too high, and print what was done about it."""
    rng = np.random.default_rng(0)
    train, dev = make_data(rng, 800), make_data(rng, 400)
    layers = [stoop.Dense(64, activation="leaky_relu"), stoop.Dense(64, activation="leaky_relu"), stoop.Dense(3)]
    sgd = stoop.optimizers.SGD(learning_rate=0.5, momentum=0.9)
    trainer = stoop.Trainer(stoop.Model(layers, input_dim=2), optimizer=sgd)
    history = babysit(trainer, train, dev)
    for change in history.changes:
        name, value = list(change.items())[-1]
        print(f"from epoch {change['epoch']} on: {name} = {value:.3g}")
    assert history.changes
    assert history["learning_rate"][-1] < 0.5
    assert history["val_accuracy"][-1] > 0.9
    if plot:
        history.plot(plot)
    return history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", metavar="FILE")
    main(parser.parse_args().plot)
