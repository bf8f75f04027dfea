"""Training on augmented samples: `fit` sees what `augment(X, epoch)` shows, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import MESSAGE, bits
from reference_augment import mixes, shuffled
from stoop.augment import Augment
from stoop.callbacks import Callback

SHAPE = (8, 8)
MOVES = Augment(SHAPE, shift=1.5, rotate=20.0, elastic=(6.0, 2.0), noise=0.1)
MIXES = Augment(SHAPE, shift=1, noise=0.05, mixup=0.5)
SAMPLES, BATCH = 70, 16


def data(samples: int = SAMPLES, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((samples, 64)).astype(np.float32), rng.integers(classes, size=samples)


def trainer_of(loss: Any = "softmax_cross_entropy", outputs: int = 3, dtype: str = "float32", **options: Any) -> Any:
    layers = [stoop.Dense(20, activation="tanh"), stoop.Dense(outputs)]
    model = stoop.Model(layers, input_dim=64, seed=1, dtype=dtype)
    return stoop.Trainer(model, loss, "adam", **{"seed": 4, **options})


def fitted(augment: Any, X: Any, y: Any, epochs: int = 3, trainer: Any = None, **options: Any) -> Any:
    trainer = trainer or trainer_of()
    trainer.fit(X, y, epochs, BATCH, augment=augment, verbose=0, **options)
    return trainer


def by_hand(
    augment: Augment, X: np.ndarray, y: np.ndarray, trainer: Any, epochs: int = 3, *, shuffle: bool = True
) -> Any:
    """A loop of `step` over what `augment` shows."""
    for epoch in range(epochs):
        seen = augment(X, epoch)
        order = shuffled(trainer.seed, epoch, len(X)) if shuffle else np.arange(len(X))
        for start in range(0, len(X), BATCH):
            rows = order[start : start + BATCH]
            trainer.step(seen[rows], y[rows])
    return trainer


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_is_a_loop_over_what_augment_shows(dtype: str, shuffle: bool) -> None:
    X, y = data()
    X = (255 * X).astype(dtype) if dtype == "uint8" else X.astype(dtype)
    augment = Augment(SHAPE, shift=1.5, rotate=20.0, noise=3.0 if dtype == "uint8" else 0.1, seed=4)
    kind = "float64" if dtype == "float64" else "float32"
    one = fitted(augment, X, y, trainer=trainer_of(dtype=kind), shuffle=shuffle)
    other = by_hand(augment, X, y, trainer_of(dtype=kind), shuffle=shuffle)
    for name, value in one.model.parameters().items():
        np.testing.assert_allclose(value, other.model.parameters()[name], rtol=0, atol=1e-6, err_msg=name)


def test_inputs_are_scaled_after_they_are_augmented() -> None:
    X, y = data()
    pixels = (255 * X).astype(np.uint8)
    plain = trainer_of().model
    scaled = stoop.Model(plain.layers, input_dim=64, seed=1, input_scale=1 / 255)
    trainer = stoop.Trainer(scaled, optimizer="adam", seed=4)
    augment = Augment(SHAPE, rotate=20.0, fill=255.0, seed=4)
    fitted(augment, pixels, y, trainer=trainer)
    other = by_hand(Augment(SHAPE, rotate=20.0, fill=1.0, seed=4), (pixels / 255).astype(np.float32), y, trainer_of())
    for name, value in trainer.model.parameters().items():
        np.testing.assert_allclose(value, other.model.parameters()[name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("augment", [MOVES, MIXES], ids=["moves", "mixes"])
def test_the_bits_do_not_depend_on_threads_or_pieces(augment: Augment) -> None:
    X, y = data()
    expected = bits(fitted(augment, X, y, trainer=trainer_of(num_threads=1)).model)
    for threads in (2, 3):
        assert bits(fitted(augment, X, y, trainer=trainer_of(num_threads=threads)).model) == expected

    class Looking(Callback):
        every_n_steps = 1

        def on_steps_end(self, trainer: Any, logs: Any) -> None:
            pass

    assert bits(fitted(augment, X, y, callbacks=Looking()).model) == expected
    assert bits(fitted(None, X, y).model) != expected


def test_without_a_seed_it_is_that_of_the_trainer() -> None:
    X, y = data()
    own = Augment(SHAPE, rotate=20.0, seed=4)
    assert bits(fitted(own, X, y).model) == bits(fitted(Augment(SHAPE, rotate=20.0), X, y).model)
    other = Augment(SHAPE, rotate=20.0, seed=5)
    assert bits(fitted(own, X, y).model) != bits(fitted(other, X, y).model)


@pytest.mark.parametrize("augment", [MOVES, MIXES], ids=["moves", "mixes"])
@pytest.mark.parametrize("after", [1, 7, 10])
def test_a_fit_that_is_resumed_comes_to_the_bits_of_one_in_one_piece(
    augment: Augment, after: int, tmp_path: Path
) -> None:
    X, y = data()
    path = tmp_path / "training.ckpt"

    class Ending(Callback):
        every_n_steps = 1

        def on_steps_end(self, trainer: Any, logs: Any) -> None:
            if trainer.steps == after:
                trainer.save_checkpoint(path)
                trainer.stop("ended")

    assert fitted(augment, X, y, callbacks=Ending()).steps == after
    resumed = fitted(augment, X, y, resume=path)
    assert bits(resumed.model) == bits(fitted(augment, X, y).model)
    for other in (None, Augment(SHAPE, shift=1)):
        with pytest.raises(stoop.CheckpointError, match="another augmentation") as raised:
            fitted(other, X, y, resume=path)
        assert MESSAGE.fullmatch(str(raised.value))


def test_a_checkpoint_without_augmentation_has_no_word_of_it(tmp_path: Path) -> None:
    X, y = data()
    trainer = fitted(None, X, y)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    assert b'"augment"' not in (tmp_path / "plain.ckpt").read_bytes()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixup_of_classes_is_a_loop_with_probabilities(smoothing: float) -> None:
    X, y = data()
    loss = stoop.losses.SoftmaxCrossEntropy(label_smoothing=smoothing)
    augment = Augment(SHAPE, shift=1, noise=0.05, mixup=0.5, seed=4)
    one = fitted(augment, X, y, trainer=trainer_of(loss))
    other = trainer_of(loss)
    correct = 0
    for epoch in range(3):
        seen, targets = augment(X, epoch, y)
        share, partner = mixes(augment, len(X), epoch, 4)
        one_hot = np.eye(3)[y]
        np.testing.assert_allclose(
            targets, share[:, None] * one_hot + (1 - share[:, None]) * one_hot[partner], atol=1e-6
        )
        order = shuffled(4, epoch, len(X))
        for start in range(0, len(X), BATCH):
            rows = order[start : start + BATCH]
            if epoch == 2:
                correct += np.sum(other.model.predict(seen[rows]).argmax(1) == targets[rows].argmax(1))
            other.step(seen[rows], targets[rows])
    for name, value in one.model.parameters().items():
        np.testing.assert_allclose(value, other.model.parameters()[name], rtol=0, atol=1e-6, err_msg=name)
    assert one.history["accuracy"][2] == pytest.approx(correct / len(X))


@pytest.mark.parametrize("loss", ["mse", "huber", "binary_cross_entropy", "focal"])
def test_mixup_of_values_is_a_loop_with_mixed_values(loss: str) -> None:
    X, _ = data()
    y = np.random.default_rng(2).random((len(X), 2)).astype(np.float32).round(0 if "o" in loss[-4:] else 3)
    augment = Augment(SHAPE, shift=1, mixup=0.5, seed=4)
    one = fitted(augment, X, y, trainer=trainer_of(loss, 2))
    other = trainer_of(loss, 2)
    for epoch in range(3):
        seen, targets = augment(X, epoch, y)
        order = shuffled(4, epoch, len(X))
        for start in range(0, len(X), BATCH):
            other.step(seen[order[start : start + BATCH]], targets[order[start : start + BATCH]])
    for name, value in one.model.parameters().items():
        np.testing.assert_allclose(value, other.model.parameters()[name], rtol=0, atol=1e-6, err_msg=name)


def test_probabilities_are_mixed_like_classes() -> None:
    X, y = data()
    rows = np.eye(3, dtype=np.float32)[y]
    assert bits(fitted(MIXES, X, y).model) == bits(fitted(MIXES, X, rows).model)


def test_only_training_is_augmented() -> None:
    X, y = data()
    trainer = trainer_of()
    history = trainer.fit(X, y, 2, BATCH, augment=MOVES, validation_data=(X, y), verbose=0)
    assert history["val_loss"][-1] == pytest.approx(trainer.evaluate(X, y)["loss"], rel=1e-6)
    assert abs(history["val_loss"][0] - history["loss"][1]) > 1e-3


def test_accumulation_and_clipping_see_the_same_samples() -> None:
    X, y = data()
    whole = trainer_of()
    whole.fit(X, y, 2, 2 * BATCH, augment=MIXES, verbose=0)
    parts = trainer_of(accumulate=2, clip_norm=1e6)
    parts.fit(X, y, 2, BATCH, augment=MIXES, verbose=0)
    for name, value in whole.model.parameters().items():
        np.testing.assert_allclose(value, parts.model.parameters()[name], rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("augment", [MOVES, MIXES], ids=["moves", "mixes"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_many_on_rows_has_the_bits_of_a_fit_on_these_rows(augment: Augment, shuffle: bool) -> None:
    X, y = data()
    rng = np.random.default_rng(6)
    rows = [rng.integers(len(X), size=50), None, np.arange(30, 60), rng.permutation(len(X))]
    trainers = [trainer_of() for _ in rows]
    augments = [augment, augment, None, augment]
    stoop.fit_many(trainers, X, y, 2, BATCH, rows=rows, augment=augments, shuffle=shuffle, verbose=0)
    for trainer, chosen, how in zip(trainers, rows, augments):
        part = slice(None) if chosen is None else chosen
        assert bits(trainer.model) == bits(fitted(how, X[part], y[part], 2, shuffle=shuffle).model)


def test_a_mapped_file_is_augmented_alike_and_checked(tmp_path: Path) -> None:
    X, y = data(300)
    path = tmp_path / "X.npy"
    np.save(path, X)
    mapped = np.load(path, mmap_mode="r")
    assert bits(fitted(MIXES, mapped, y).model) == bits(fitted(MIXES, X, y).model)
    X[123, 5] = np.nan
    np.save(path, X)
    for augment in (MOVES, MIXES):
        with pytest.raises(ValueError, match=r"row 123"):
            fitted(augment, np.load(path, mmap_mode="r"), y)
        with pytest.raises(ValueError, match=r"123"):
            fitted(augment, X, y)


def test_a_partner_that_is_not_finite_ends_the_fit(tmp_path: Path) -> None:
    X, y = data(4)
    augment = Augment(SHAPE, mixup=1.0, seed=4)
    _, partner = mixes(augment, 4, 0, 4)
    first = shuffled(4, 0, 4)[0]
    X[partner[first]] = np.inf
    np.save(tmp_path / "X.npy", X)
    trainer = trainer_of()
    with pytest.raises(ValueError, match=f"row {partner[first]}"):
        trainer.fit(np.load(tmp_path / "X.npy", mmap_mode="r"), y, 1, 1, augment=augment, verbose=0)
    assert trainer.steps == 0


def test_a_dry_run_and_few_batches_take_it() -> None:
    X, y = data()
    trainer = trainer_of()
    before = bits(trainer.model)
    trainer.fit(X, y, 2, BATCH, augment=MIXES, dry_run=True, verbose=0)
    assert bits(trainer.model) == before
    trainer.fit(X, y, 2, BATCH, augment=MIXES, overfit_batches=2, verbose=0)
    assert bits(trainer.model) == bits(fitted(MIXES, X[: 2 * BATCH], y[: 2 * BATCH], 2).model)


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (Augment((28, 28), shift=1), "64 columns"),
        (Augment((4, 4, 3), shift=1), "64 columns"),
    ],
)
def test_images_of_another_size_are_refused(augment: Augment, words: str) -> None:
    X, y = data()
    trainer = trainer_of()
    with pytest.raises(ValueError, match=words) as raised:
        fitted(augment, X, y, trainer=trainer)
    assert MESSAGE.fullmatch(str(raised.value))
    assert trainer.steps == 0


def test_what_mixup_does_not_go_with() -> None:
    X, y = data()
    weights = np.ones(len(X), np.float32)
    for options in ({"sample_weight": weights}, {"class_weight": "balanced"}):
        with pytest.raises(ValueError, match="weights"):
            fitted(MIXES, X, y, **options)
        fitted(MOVES, X, y, **options)
    with pytest.raises(ValueError, match="hinge"):
        fitted(MIXES, X, y % 2, trainer=trainer_of("hinge", 1))
    lbfgs = stoop.Trainer(stoop.Model([stoop.Dense(3)], input_dim=64), optimizer=stoop.optimizers.LBFGS())
    with pytest.raises(ValueError, match="all samples at once"):
        lbfgs.fit(X, y, 2, len(X), augment=MOVES, verbose=0)
    with pytest.raises(TypeError, match="augment"):
        fitted({"shift": 1}, X, y)
    with pytest.raises(ValueError, match="one for each"):
        stoop.fit_many([trainer_of()], X, y, augment=[MOVES, MOVES], verbose=0)


def test_rows_of_a_table_take_noise_and_mixup() -> None:
    X, y = data()
    augment = Augment(None, noise=0.1, mixup=0.2)
    assert bits(fitted(augment, X, y).model) == bits(fitted(Augment(noise=0.1, mixup=0.2), X, y).model)


@pytest.mark.parametrize("missing", ["error", "mean"])
def test_what_is_augmented_is_normalised_next(missing: str) -> None:
    X, y = data()
    X = 50.0 + 20.0 * X
    if missing == "mean":
        X[3::7, 5] = np.nan
    layers = [stoop.Normalization(missing=missing), stoop.Dense(20, activation="tanh"), stoop.Dense(3)]

    def trainer() -> Any:
        model = stoop.Model(layers, input_dim=64, seed=1)
        model.adapt(X)
        return stoop.Trainer(model, optimizer="adam", seed=4)

    augment = Augment(SHAPE, shift=1, rotate=20.0, seed=4) if missing == "error" else Augment(None, mixup=0.4, seed=4)
    one, other = trainer(), trainer()
    one.fit(X, y, 3, BATCH, augment=augment, verbose=0)
    for epoch in range(3):
        seen, targets = missing_kept(augment, X, epoch, y)
        order = shuffled(4, epoch, len(X))
        for start in range(0, len(X), BATCH):
            other.step(seen[order[start : start + BATCH]], targets[order[start : start + BATCH]])
    for name, value in one.model.parameters().items():
        np.testing.assert_allclose(value, other.model.parameters()[name], rtol=0, atol=1e-5, err_msg=name)


def missing_kept(augment: Augment, X: Any, epoch: int, y: Any) -> tuple[Any, Any]:
    """What `augment` shows; a number that is missing in either of two samples is missing in their mixture."""
    seen, targets = augment(np.nan_to_num(X), epoch, y)
    if augment.mixup > 0.0:
        _, partner = mixes(augment, len(X), epoch, 4)
        seen[np.isnan(X) | np.isnan(X[partner])] = np.nan
    return seen, targets
