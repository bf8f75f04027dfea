"""Losses. Each is the mean over the samples of a batch; give the name or an object as ``loss``.

With sample weights it is the weighted mean, divided by the sum of the weights.
"""

from dataclasses import dataclass
from typing import ClassVar

from stoop._config import Config


class Loss(Config, kind="loss"):
    """Base of all losses. Use a subclass."""

    _example: ClassVar[str] = '"softmax_cross_entropy"'


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """``mean(logsumexp(logits) - sum(t * logits))``; Bridle 1990; Goodfellow et al. 2016, eq. 6.29 and 6.30.

    Logits ``(n, n_classes)``; targets ``(n,)`` integers in ``[0, n_classes)``, for which t is the one-hot row, or
    ``(n, n_classes)`` rows of probabilities, each adding up to 1 to within 1e-3; at least two classes. Value and
    gradient ``(softmax(logits) - t) / n`` come from one pass that shifts each row by its maximum, so logits of 1e4 are
    safe. The model must end without a softmax. Name: ``"softmax_cross_entropy"``.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        ``t = (1 - label_smoothing) * t + label_smoothing / n_classes``, in [0, 1); Szegedy et al. 2016, section 7.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or no number.
    """

    type_name: ClassVar[str] = "softmax_cross_entropy"
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """``mean(max(z, 0) - z*t + log(1 + exp(-abs(z))))`` over samples and columns, on logits z; Cox 1958.

    Targets t ``(n, n_outputs)`` in [0, 1], several columns for multi-label; ``(n,)`` labels or probabilities will do
    for one column. The model must end without a sigmoid. Name: ``"binary_cross_entropy"``.
    """

    type_name: ClassVar[str] = "binary_cross_entropy"


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """``mean((output - target)**2)`` over samples and output columns; targets ``(n, n_outputs)``. Name: ``"mse"``.

    Goodfellow, Bengio & Courville 2016, section 6.2.1.2.
    """

    type_name: ClassVar[str] = "mse"


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """``mean(abs(output - target))`` over samples and output columns; targets ``(n, n_outputs)``. Name: ``"mae"``.

    Goodfellow, Bengio & Courville 2016, section 6.2.1.2. The gradient is 0 where output and target are equal.
    """

    type_name: ClassVar[str] = "mae"


@dataclass(frozen=True)
class Huber(Loss):
    """``d**2 / 2`` where ``abs(d) <= delta``, else ``delta * (abs(d) - delta/2)``, d = output - target; Huber 1964.

    The mean over samples and output columns; targets ``(n, n_outputs)``. Name: ``"huber"``.

    Parameters
    ----------
    delta : float, default 1.0
        Where the loss becomes linear, > 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or no number.
    """

    type_name: ClassVar[str] = "huber"
    delta: float = 1.0


@dataclass(frozen=True)
class Quantile(Loss):
    """``max(q * d, (q - 1) * d)``, d = target - output: its minimum is the quantile q of the targets.

    Koenker & Bassett 1978, eq. 2.1. The mean over samples and output columns; targets ``(n, n_outputs)``. The gradient
    is 0 where output and target are equal. Name: ``"quantile"``.

    Parameters
    ----------
    q : float, default 0.5
        The share of targets that should lie below the output, in (0, 1); 0.5 gives the median.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or no number.
    """

    type_name: ClassVar[str] = "quantile"
    q: float = 0.5


@dataclass(frozen=True)
class Poisson(Loss):
    """``exp(z) - t*z`` for outputs z that are logs of rates: the negative log-likelihood of counts t but for log(t!).

    Cameron & Trivedi 1998, section 3.2. The mean over samples and output columns; targets ``(n, n_outputs)``, >= 0.
    With ``log_input=False`` the outputs are the rates: ``z - t*log(z + 1e-8)``, which needs outputs > 0, as after a
    softplus. Name: ``"poisson"``.

    Parameters
    ----------
    log_input : bool, default True
        Whether the outputs are logs of rates, or rates.

    Raises
    ------
    TypeError
        For another value.
    """

    type_name: ClassVar[str] = "poisson"
    log_input: bool = True


@dataclass(frozen=True)
class LogCosh(Loss):
    """``log(cosh(output - target))``: half the square of small differences, the size of large ones less log(2).

    The mean over samples and output columns; targets ``(n, n_outputs)``. By definition. Name: ``"log_cosh"``.
    """

    type_name: ClassVar[str] = "log_cosh"


@dataclass(frozen=True)
class Focal(Loss):
    """Binary cross-entropy on logits times ``(1 - p)**gamma``, p the probability that the model gives the label.

    Lin et al. 2017, eq. 4, without its alpha (give ``class_weight``): samples that are right already count little. For
    targets t between 0 and 1, ``1 - p`` is ``s*(1 - t) + (1 - s)*t``, s the sigmoid of the output. The mean over
    samples and columns; targets ``(n, n_outputs)`` as for ``"binary_cross_entropy"``: labels 0 and 1 by column, and
    ``(n,)`` labels of any two names for one column. The model must end without a sigmoid. Name: ``"focal"``.

    Parameters
    ----------
    gamma : float, default 2.0
        How little, >= 0; 0 gives the binary cross-entropy.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or no number.
    """

    type_name: ClassVar[str] = "focal"
    gamma: float = 2.0


@dataclass(frozen=True)
class Hinge(Loss):
    """``max(0, 1 - s*z)`` on outputs z, s = -1 for the label 0 and 1 for the label 1; Cortes & Vapnik 1995, section 3.

    The mean over samples and columns; targets ``(n, n_outputs)`` labels 0 and 1 by column. For one column ``(n,)``
    labels of any two names will do, such as -1 and 1. The sign of an output is the prediction
    (`Model.predict_labels`); its sigmoid orders the samples, but no probability was fitted. The gradient is 0 from a
    margin of 1 on. The model must end without an activation. Name: ``"hinge"``.
    """

    type_name: ClassVar[str] = "hinge"


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """``(v + (t - m)**2 * exp(-v)) / 2`` for a mean m and the log of a variance v of each target; Nix & Weigend 1994.

    The negative log-likelihood of a normal distribution but for ``log(2*pi)/2``, so the model learns how sure it is.
    Outputs ``(n, 2*k)``: k means, then their k log variances; targets ``(n, k)``, ``(n,)`` will do for one. The mean
    over samples and targets. Name: ``"gaussian_nll"``.
    """

    type_name: ClassVar[str] = "gaussian_nll"
