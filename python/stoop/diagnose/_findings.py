"""What a diagnosis says: the faults by name, what to do about each, and a finding."""

from __future__ import annotations

from dataclasses import dataclass

HIGH_BIAS = "high bias"
HIGH_VARIANCE = "high variance"
MISMATCH = "data mismatch"
DEV_OVERFITTING = "overfitting to the dev set"
RATE_HIGH = "learning rate too high"
RATE_LOW = "learning rate too low"
VANISHING = "vanishing gradients"
EXPLODING = "exploding gradients"
DEAD = "dead units"
SATURATED = "saturated units"
SYMMETRIC = "symmetric units"
INPUTS = "inputs not normalised"
IMBALANCE = "class imbalance"

ADVICE: dict[str, str] = {
    HIGH_BIAS: "Make the network larger (more units, one more layer), train it longer, or weaken l2 and dropout; if "
    "it then still errs on its own training data, look for inputs that tell more, or set target_error to what is "
    "possible.",
    HIGH_VARIANCE: "Get more training data or augment them; then regularise (dropout, l2, early stopping), or make "
    "the network smaller.",
    MISMATCH: "Make the training data more like the dev data: look at what differs (error analysis by slice), "
    "collect or synthesise such samples, and move some of the dev distribution into training. Keep a train-dev part "
    "to be sure.",
    DEV_OVERFITTING: "Get a larger or a fresh dev set, keep its rows out of training, and decide less often by it; "
    "report the test error.",
    RATE_HIGH: "Lower the learning rate by 10 and train again; Trainer.find_learning_rate suggests one. A warmup, "
    "clip_norm or batch normalisation allow more.",
    RATE_LOW: "Raise the learning rate by 10 and train again; Trainer.find_learning_rate suggests one.",
    VANISHING: 'Use relu-like activations with the default initialisation (kernel_init=None, "he_normal"), batch or '
    "layer normalisation between the layers, Residual blocks, or fewer layers.",
    EXPLODING: 'Use the default initialisation (kernel_init=None: "he_normal" or "glorot_uniform"), batch or layer '
    "normalisation, and clip_norm=1.0.",
    DEAD: 'Use the default initialisation (bias_init="zeros"), a lower learning rate, or leaky_relu, elu or gelu, '
    "whose gradient does not end.",
    SATURATED: 'Use smaller initial weights (kernel_init=None, "glorot_uniform"), inputs of unit scale, a lower '
    "learning rate or l2; relu-like activations do not saturate.",
    SYMMETRIC: "Initialise the weights at random (kernel_init=None): units that begin alike get the same gradient and "
    "stay alike.",
    INPUTS: "Put stoop.Normalization() first in the model, or standardise the inputs (stoop.data.standardize); "
    "input_scale=1/255 does for pixels.",
    IMBALANCE: 'Give Trainer.fit class_weight="balanced", collect or augment more of the rare classes, move the '
    "threshold of the decision, and judge by recall, f1 or average precision instead of accuracy.",
}
# For a mismatch between dev and test data.
TEST_ADVICE = (
    "Draw dev and test data from one distribution, that on which the model is to do well, so that decisions by the dev "
    "data count for the test data too; then make the training data more like them."
)


@dataclass(frozen=True)
class Finding:
    """A fault that `stoop.diagnose.check` has found.

    Attributes
    ----------
    fault : str
        Its name, one of those that `stoop.diagnose` lists.
    evidence : str
        What was seen, in numbers.
    advice : str
        What to do, most promising first.
    """

    fault: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.evidence} {self.advice}"


def finding(fault: str, evidence: str) -> Finding:
    """Return a finding with the usual advice."""
    return Finding(fault, evidence, ADVICE[fault])
