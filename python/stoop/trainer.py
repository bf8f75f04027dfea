"""Trainer: gradient descent on mini-batches. Whole epochs run in the core with the GIL released."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy.typing as npt

from stoop._attributes import Views
from stoop._checks import (
    BELOW_ONE,
    FloatArray,
    flag,
    integer,
    real,
    sample_weights,
    thread_count,
)
from stoop._checks import seed as checked_seed
from stoop._config import as_config
from stoop._errors import message
from stoop._fit import WHERE, FitOptions
from stoop._fitting import Fitting
from stoop._inspection import Inspecting
from stoop._loop import FitLoop, checked_callbacks
from stoop._pieces import InPieces
from stoop._processes import Processes
from stoop._settings import checked_decay, checked_limit, checked_penalties, checked_precision, warn_of_last_activation
from stoop._weights import first_rows, split_off
from stoop.augment import Augment
from stoop.history import History
from stoop.losses import Loss
from stoop.metrics import resolve
from stoop.model import Model
from stoop.optimizers import Adam, Optimizer

_DEFAULT_OPTIMIZER = Adam(learning_rate=1e-3)


class Trainer(InPieces, Inspecting, Fitting):
    """Trains one model.

    `learning_rate`, `l1`, `l2`, `clip_norm` and `clip_value` can be set as attributes and hold from the next update on,
    within a fit too. A trainer can be copied and pickled with its model and all that training carries on, so that the
    copy goes on to the same bits; a learning rate that is a function must be one that pickle can take.

    Parameters
    ----------
    model : Model
        Its parameters are updated in place.
    loss : str or loss, default "softmax_cross_entropy"
        A name or an object of `stoop.losses`.
    optimizer : str or optimizer, default ``Adam(learning_rate=1e-3)``
        A name or an object of `stoop.optimizers`.
    l1, l2 : float, default 0.0
        Add ``l1 * sum(abs(weight))`` and ``l2/2 * sum(weight**2)`` to the loss, weights of Dense only, >= 0; a layer
        with its own goes by that. Tibshirani 1996; Hoerl & Kennard 1970.
    clip_norm : float, optional
        The gradient of all parameters together, regularisation included, is scaled down to this L2 norm, > 0;
        Pascanu, Mikolov & Bengio 2013, algorithm 1.
    clip_value : float, optional
        Before that, each element of the gradient is cut to [-clip_value, clip_value], > 0;
        Goodfellow, Bengio & Courville 2016, section 10.11.1.
    accumulate : int, default 1
        Batches whose gradients make one update, by definition the same as one batch of all their samples, >= 1.
    ema : float, optional
        Keeps a moving average of the parameters, ``average = ema*average + (1-ema)*parameters`` after each update,
        in [0, 1); see `ema_parameters` and `swap_ema`. Polyak & Juditsky 1992, exponentially weighted.
    max_norm : float, optional
        After an update the incoming weights of each unit are scaled down to this L2 norm, > 0;
        Srivastava et al. 2014, section 5.1.
    precision : {"float32", "float64", "bfloat16"}, default "float32"
        Of the arithmetic; a float64 model computes in float64, whichever of these two is given. "bfloat16", for float32
        models on CPUs with AVX512-BF16 or AMX-BF16: `fit`, `step` and `loss_and_grad` round what enters their matrix
        products to bfloat16 (8 bits of mantissa; Kalamkar et al. 2019, section 3); sums, parameters, gradients,
        optimizer state and everything else stay float32. `evaluate`, validation, `hessian_vector_product` and
        `Model.predict` compute in float32. `stoop.show_config` says whether it is available.
    num_threads : int, optional
        None: chosen from the work of a step, at most `stoop.get_num_threads`.
    seed : int, default 0
        Of the shuffling, a function of the seed and the epoch, and of dropout.
    rollback : bool, default True
        `fit` keeps a copy of the parameters from the start of each epoch, and of what the optimizer holds where that is
        at most 64 MiB, to put back if an update makes them NaN. False: no copy is kept, which saves that memory; after
        `NonFiniteLossError` the parameters may then be NaN. With `stoop.callbacks.EarlyStopping` its copy of the best
        epoch serves instead. Where the optimizer has no copy, it begins anew after such an error.
    comm : mpi4py.MPI.Intracomm, optional
        Trains with all processes of this communicator, each of which makes model, trainer and the same calls with all
        samples: they share out the rows of each update, and end with the same bits. Callbacks and output are those of
        rank 0. The guide to MPI says more. A copy of a trainer trains without the others.
    shards : int, default 8
        With `comm`: into how many parts an update is cut, whose gradients are added in a fixed tree; a power of two.
        There may be 1, 2, 4, ... up to `shards` processes, and their number does not change the bits.

    Attributes
    ----------
    history : History
        Of the newest `fit`, also when that was interrupted.
    model, loss, optimizer and the settings by name
        As given; fixed but for those named above.

    Raises
    ------
    ValueError, TypeError
        For an unknown name (the nearest is suggested), a value outside its range, or a precision that the model, the
        CPU or the instruction set forced by ``STOOP_ISA`` does not have. Also for softmax cross-entropy of one output.
    AttributeError
        When an attribute is set that does not exist or is fixed.

    Warns
    -----
    UserWarning
        For a last layer such as a sigmoid before a cross-entropy, which takes logits.
    """

    def __init__(
        self,
        model: Model,
        loss: str | Loss = "softmax_cross_entropy",
        optimizer: str | Optimizer = _DEFAULT_OPTIMIZER,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        ema: float | None = None,
        max_norm: float | None = None,
        precision: str = "float32",
        num_threads: int | None = None,
        seed: int = 0,
        rollback: bool = True,
        comm: Any = None,
        shards: int = 8,
    ) -> None:
        self._processes = None if comm is None else Processes(comm)
        with self._with_others("Trainer"):
            if not isinstance(model, Model):
                raise TypeError(message("Trainer", f"model is {model!r}", "expected a stoop.Model", "build one first"))
            if self._processes is not None:
                self._processes.cut_into(shards)
            self._model = model
            self._loss = as_config(Loss, "Trainer", loss)
            self._optimizer = as_config(Optimizer, "Trainer", optimizer)
            self._history = History(())
            self._between: dict[str, Any] = {}
            self._rollback = flag("Trainer", "rollback", rollback)
            self._config = {
                **checked_penalties(l1, l2),
                "clip_norm": checked_limit("clip_norm", clip_norm),
                "clip_value": checked_limit("clip_value", clip_value),
                "max_norm": checked_limit("max_norm", max_norm),
                "accumulate": integer(
                    "Trainer", "accumulate", accumulate, 1, hint="give the number of batches that make an update"
                ),
                "ema": checked_decay(ema),
                "precision": checked_precision(precision),
                "num_threads": 0 if num_threads is None else thread_count("Trainer", "num_threads", num_threads),
                "seed": checked_seed("Trainer", seed),
            }
            self._build()
        warn_of_last_activation(model.layers, self._loss)

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        epochs: int = 10,
        batch_size: int = 128,
        validation_data: tuple[npt.ArrayLike, ...] | None = None,
        *,
        validation_split: float = 0.0,
        validation_freq: int = 1,
        shuffle: bool = True,
        augment: Augment | None = None,
        sample_weight: npt.ArrayLike | None = None,
        class_weight: Mapping[Any, float] | npt.ArrayLike | str | None = None,
        metrics: Any = ("accuracy",),
        callbacks: Any = (),
        verbose: int = 1,
        last_batch: str = "keep",
        max_time: float | str | timedelta | None = None,
        resume: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        overfit_batches: int | None = None,
    ) -> History:
        """Train on mini-batches of X and y; called again, it goes on from where it is.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            Read only. float32, float64 and uint8 whose rows are contiguous are never copied: each batch is converted as
            its rows are gathered, as `Model.input_scale` or a `Normalization` says. Everything else is copied once.
            A `numpy.memmap` may be larger than memory: the pages of coming batches are read in advance, and values are
            checked as they are read, so that a NaN ends the fit when its row is met (ValueError).
        y : array_like, (n_samples,) or (n_samples, n_outputs)
            Class labels for the cross-entropies, `Focal` and `Hinge`: the integers 0 .. n-1, or any other integers,
            strings or booleans, whose names the first training gives `Model.classes` (sorted; those of a categorical
            column in its order).
            Softmax cross-entropy also takes rows of probabilities, which add up to 1 to within 1e-3, binary
            cross-entropy and `Focal` probabilities; all but softmax labels 0 and 1 by column where there are several
            outputs. Values for the other losses; ``(n_samples,)`` will do for one output.
        epochs : int, default 10
            Passes over X, >= 1.
        batch_size : int, default 128
            Samples per update, >= 1; for what does not fill a batch see `last_batch`. LBFGS and NewtonCG need all of
            them, ``len(X)``, and make one iteration an epoch; the history's learning_rate is then the step's length.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Evaluated after each epoch, or as `validation_freq` says; a `numpy.memmap` is read once before, to check its
            values.
        validation_split : float, default 0.0
            In [0, 1): this share of the samples, the last ones as they are given, is not trained on but validated
            with. Shuffle sorted data first, or use `stoop.data.train_test_split`.
        validation_freq : int, default 1
            The validation data are evaluated after every so many epochs of the fit, >= 1; in the others the history has
            NaN.
        shuffle : bool, default True
            A new order each epoch.
        augment : Augment, optional
            Changes each sample at random as it is trained on, see `stoop.augment.Augment`; validation data are not
            changed. Not with LBFGS and NewtonCG.
        sample_weight : array_like, (n_samples,) or (n_samples, n_outputs), optional
            >= 0; the loss of a batch is the weighted mean, divided by the sum of its weights. 0 leaves a sample out
            (of the loss: the statistics of a BatchNorm are of all samples alike). With a column for each column of y, a
            weight or a mask of 0 and 1 for each target, the loss is ``sum(weight * loss of the target) / sum(weight)``;
            not for softmax cross-entropy, which compares whole rows, nor with `class_weight`. A target of weight 0 may
            be NaN: it is absent. Where some are, and with weights of targets, the accuracy leaves out what weighs 0.
        class_weight : dict, array_like (n_classes,) or "balanced", optional
            Weight by class, multiplied with `sample_weight`; classes that a dict, by name or index, leaves out weigh 1.
            A pandas Series is a dict unless its index counts from 0. "balanced": ``n_samples / (n_classes * count)``
            of the samples that are trained on. For class labels (but for softmax: of one output) only.
        metrics : iterable of str or callable, default ("accuracy",)
            What is recorded beside the loss: names of `stoop.metrics`, `stoop.metrics.TopK`, and functions
            ``(y_true, outputs) -> float``, on the validation data; the accuracy also on what is trained on. "accuracy"
            is left out for losses of values.
        callbacks : callback or iterable of callbacks, default ()
            Objects of `stoop.callbacks`, or with methods of these names, which are called in this order.
        verbose : {0, 1, 2} or bool, default 1
            0: silent. 1: a table of epochs, with a live line on a terminal. 2: the table alone.
        last_batch : {"keep", "drop", "merge"}, default "keep"
            What becomes of the samples that do not fill a last batch. "keep": they are a smaller batch, whose update
            counts like the others; with a BatchNorm one sample alone joins the batch before it, because it has no
            variance. "drop": they are left out of the epoch, with `shuffle` others each time. "merge": they join the
            batch before them, which then has up to ``2*batch_size - 1`` samples. The loss of the history is the mean
            over the samples that were trained on.
        max_time : float, str or timedelta, optional
            Seconds, or text such as "1h30m" (d, h, m, s), >= 0: the fit ends after the update that is running then. The
            epoch that did not end has no row in the history.
        resume : path, optional
            A checkpoint, such as `stoop.callbacks.ModelCheckpoint` writes. If the file is there, the fit that wrote it
            goes on, also within an epoch, to `epochs` counted from that fit's start, and ends with the bits of a fit
            that was never interrupted. If it is not there, the fit starts. The same script run again is thus the
            recovery. Callbacks get their states back by their types. Data, settings and arguments must be those of that
            fit.
        dry_run : bool, default False
            True: one update and one validation on the first batches, of which nothing is kept: neither parameters, nor
            history, nor what callbacks would do, which are not called.
        overfit_batches : int, optional
            Trains on the first so many batches only, >= 1: a network that cannot learn these by heart has a fault.

        Returns
        -------
        History
            The quantities by epoch. Also kept as `history`, with the epochs so far if the fit was interrupted. Its
            `stop_reason` is "epochs", "max_time", "interrupted", "error", or what a callback said.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used; nothing is changed then, except that a value of a `numpy.memmap` that is not
            finite leaves the updates before its batch in place.
        NonFiniteLossError
            If the loss became NaN or infinite; the model keeps its last good parameters.
        KeyboardInterrupt
            On Ctrl-C, after the running step; the model is usable and `fit` can be called again.
        CheckpointError
            For a file in `resume` that is damaged, or that another fit wrote; the message says which.
        """
        with self._with_others(WHERE):
            hint = "0.2 keeps the last fifth of X"
            split = real(WHERE, "validation_split", validation_split, BELOW_ONE, hint=hint)
            measured = resolve(metrics, self._loss, self._model.output_dim, WHERE)
            called = checked_callbacks(callbacks)
            history = History(self._history_keys(measured, validated=validation_data is not None or split > 0.0))
            given = epochs, batch_size, shuffle, last_batch, verbose, validation_freq, max_time, resume
            options = FitOptions(*given, self._rollback, history, None, augment=augment)
            names = self._model.classes, self._model.output, self._model._core.output_is_given
            with self._names_kept():
                batch = self._batch(WHERE, X, y, sample_weight, learn=True)
                validation = None if validation_data is None else self._validation(validation_data)
                if split > 0.0:
                    batch, validation = split_off(split, batch, validation)
                if overfit_batches is not None:
                    batch = first_rows(
                        batch, integer(WHERE, "overfit_batches", overfit_batches, 1) * options.batch_size
                    )
                if class_weight is not None:
                    batch = (*batch[:2], self._class_weights(class_weight, *batch[1:]))
                functions = [metric for metric in measured if metric.needs_outputs]
                if flag(WHERE, "dry_run", dry_run):
                    first = validation and first_rows(validation, options.batch_size)
                    dry = options.dry()
                    dry.attach(FitLoop(self, dry.history, (), functions, first))
                    return self._try(first_rows(batch, options.batch_size), first, dry, names)
                options.attach(self._make_loop(history, called, functions, validation, options.validation_freq))
                return self._run(batch, validation, options)

    def step(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        rows: npt.ArrayLike | None = None,
    ) -> float:
        """Make one update on this batch and return the loss before it, regularisation included.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As in `fit`.
        rows : array_like, (batch_size,), optional
            The batch is these rows of X and y, integers from 0 on, any more than once. X and y may be as large as
            a replay buffer: nothing else of them is read if the core takes them as they are. `sample_weight` is then
            of the batch, one, or a row of them, for each index.

        Raises
        ------
        ValueError, TypeError, NonFiniteLossError
            As `fit`, and for an index that is no row; nothing is changed then.
        """
        if self._processes is not None:
            return self._step_with_others(X, y, sample_weight, rows)
        if rows is not None:
            return self._step_rows(X, y, sample_weight, rows)
        if self._model._classes is None and self._core.takes(X, y):
            x: Any = X
            if sample_weight is None:
                return self._core.step(x, y, None)  # type: ignore[arg-type]
            columns = self._targets.weight_columns
            return self._core.step(x, y, sample_weights("Trainer.step", sample_weight, self._dtype, len(x), columns))  # type: ignore[arg-type]
        with self._names_kept():
            return self._core.step(*self._batch("Trainer.step", X, y, sample_weight, learn=True))

    def ema_parameters(self) -> dict[str, FloatArray]:
        """Return the moving average of the parameters by name: writable views, empty without `ema`."""
        return Views(self._core.ema_parameters())

    def swap_ema(self) -> None:
        """Put the moving average into the model and its parameters aside, or back.

        `Model.predict`, `Model.save` and `evaluate` then use the average; training needs the parameters and refuses
        to go on until they are back. Running statistics of BatchNorm are not averaged.

        Raises
        ------
        ValueError
            If the trainer was made without `ema`.
        """
        self._core.swap_ema()

    @property
    def history(self) -> History:
        """The history of the newest `fit`, also if that was interrupted."""
        return self._history

    def __repr__(self) -> str:
        return f"Trainer({self.model!r}, {self.loss!r}, {self.optimizer!r}, epoch={self.epoch}, steps={self.steps})"
