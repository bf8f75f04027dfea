"""The hints for names that people bring from other libraries: what means the same, never what merely looks alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cases
import stoop
from helpers import refused

MODEL = stoop.Model([stoop.Dense(3)], input_dim=4)


def trainer(**arguments: Any) -> Any:
    return stoop.Trainer(MODEL, **arguments)


USES: dict[str, Callable[[str], Any]] = {
    "activation": lambda name: stoop.Dense(3, activation=name),
    "loss": lambda name: trainer(loss=name),
    "optimizer": lambda name: trainer(optimizer=name),
    "initializer": lambda name: stoop.Dense(3, kernel_init=name),
    "precision": lambda name: trainer(precision=name),
    "dtype": lambda name: stoop.Model([stoop.Dense(3)], input_dim=4, dtype=name),
    "last_batch": lambda name: trainer().fit(np.zeros((4, 4)), np.zeros(4, int), last_batch=name, verbose=0),
    "metrics": lambda name: trainer().fit(np.zeros((4, 4)), np.zeros(4, int), metrics=[name], verbose=0),
    "per": lambda name: stoop.schedules.Constant(0.1, per=name),
}

SAME: dict[str, dict[str, str]] = {
    "activation": {
        "silu": "swish Swish SILU Si-LU",
        "identity": "linear Linear none",
        "sigmoid": "logistic Sigmoid sigmod",
        "leaky_relu": "leakyrelu LeakyReLU lrelu leaky leaky-relu",
        "relu": "ReLU rectifier rleu rlu",
        "tanh": "Tanh tahn",
        "softplus": "softpls SoftPlus",
        "gelu": "GELU",
    },
    "loss": {
        "binary_cross_entropy": (
            "bce BCE BCELoss BCEWithLogitsLoss bce_with_logits binary_crossentropy BinaryCrossentropy "
            "binary_cross_entropy_with_logits sigmoid_cross_entropy"
        ),
        "softmax_cross_entropy": (
            "cross_entropy crossentropy CrossEntropyLoss categorical_crossentropy categorical_cross_entropy softmax "
            "sparse_categorical_crossentropy SparseCategoricalCrossentropy softmax_crossentropy ce softmax_cross_entrop"
        ),
        "mse": "mean_squared_error MeanSquaredError MSELoss mse_loss MSE squared_error l2 L2Loss msee",
        "mae": "mean_absolute_error MeanAbsoluteError L1Loss l1 absolute_error MAE mea",
        "huber": "HuberLoss smooth_l1 SmoothL1Loss huber_loss hubr",
    },
    "optimizer": {
        "rmsprop": "RMSprop RMSProp rms_prop rmspropp",
        "adamw": "AdamW adam_w Adam-W",
        "adam": "Adam adamm ADAM adm",
        "sgd": "SGD stochastic_gradient_descent sdg",
        "adagrad": "AdaGrad ada_grad Adagrad",
        "lbfgs": "L-BFGS LBFGS l_bfgs",
        "newton_cg": "newton-cg Newton_CG",
        "nadam": "Nadam",
    },
    "initializer": {
        "glorot_uniform": "xavier_uniform xavier_uniform_ GlorotUniform XavierUniform",
        "glorot_normal": "xavier_normal",
        "he_uniform": "kaiming_uniform kaiming_uniform_ HeUniform",
        "he_normal": "kaiming_normal HeNormal he_norml",
        "zeros": "zero zeros_ zeroes",
        "ones": "one Ones",
        "lecun_normal": "LecunNormal",
    },
    "precision": {"float32": "fp32 float single", "float64": "double fp64", "bfloat16": "bf16 mixed_bfloat16"},
    "dtype": {"float32": "fp32 flaot32 torch.float32", "float64": "fp64 flaot64"},
    "last_batch": {"drop": "drop_last discard", "keep": "keep_last", "merge": "marge"},
    "metrics": {"accuracy": "acc acuracy binary_accuracy Accuracy"},
    "per": {"step": "steps batch update iteration", "epoch": "epochs Epoch"},
}
PAIRS = [(what, name, meant) for what in SAME for meant, names in SAME[what].items() for name in names.split()]


@pytest.mark.parametrize(("what", "name", "meant"), PAIRS)
def test_a_name_for_the_same_thing(what: str, name: str, meant: str) -> None:
    with refused(ValueError, rf'did you mean "{meant}"\?'):
        USES[what](name)


ADVICE = {
    "activation": {"softmax": "leave it out.*softmax_cross_entropy", "log_softmax": "leave it out", "Softmax": "leave"},
    "loss": {
        "nll": "softmax_cross_entropy and leave the log-softmax out",
        "NLLLoss": "log-softmax out",
        "log_loss": "softmax_cross_entropy for classes, binary_cross_entropy",
        "rmse": "use mse, whose minimum is the same",
    },
    "optimizer": {
        "momentum": r"use sgd with momentum=0\.9",
        "sgd_momentum": r"use sgd with momentum=0\.9",
        "nesterov": r"use sgd with momentum=0\.9 and nesterov",
        "gradient_descent": r"use sgd; batches of all samples",
        "amsgrad": r"use adam with amsgrad",
        "bfgs": "lbfgs is the form with limited memory",
    },
    "initializer": {
        "xavier": "glorot_uniform or glorot_normal",
        "glorot": "glorot_uniform or glorot_normal",
        "he": "he_uniform or he_normal",
        "kaiming": "he_uniform or he_normal",
        "random_normal": r"initializers\.normal\(std\)",
        "random_uniform": r"initializers\.uniform\(limit\)",
    },
    "dtype": {"bfloat16": r'Trainer\(precision="bfloat16"\)'},
}


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, table in ADVICE.items() for name in table])
def test_a_name_that_needs_a_word(what: str, name: str) -> None:
    with refused(ValueError, ADVICE[what][name]) as caught:
        USES[what](name)
    assert "did you mean" not in str(caught.value)


# Near in letters, another thing in meaning.
ALIENS = {
    "activation": (
        "selu celu relu6 prelu rrelu crelu hard_sigmoid hard_swish hardtanh hard_tanh log_sigmoid softsign mish glu "
        "geglu exponential sin step tanhshrink gelu_new quick_gelu elish"
    ),
    "loss": (
        "hinge squared_hinge kl_div KLDivLoss poisson focal log_cosh quantile mape msle mean_squared_logarithmic_error "
        "mean_absolute_percentage_error cosine_similarity huber2 GaussianNLLLoss"
    ),
    "optimizer": "adamax adadelta radam RAdam nadamw adan lamb lars rprop asgd sgdw sgdr ftrl adafactor cg sparse_adam",
    "initializer": "truncated_normal variance_scaling identity eye dirac sparse lecun_orthogonal",
    "precision": "float16 fp16 half tf32 int8 float8 float128",
    "dtype": "float16 float128 int32 complex64",
    "last_batch": "pad wrap repeat",
    "metrics": "balanced_accuracy jaccard hamming_loss cohen_kappa",
}


def letters(name: str) -> str:
    return name.lower().replace("_", "").removesuffix("loss")


def is_alien(what: str, name: str) -> bool:
    """Not so what has been added since."""
    return letters(name) not in map(letters, cases.KINDS.get(what, {}))


STRANGE = [(what, name) for what, names in ALIENS.items() for name in names.split() if is_alien(what, name)]


@pytest.mark.parametrize(("what", "name"), STRANGE)
def test_nothing_is_suggested_for_another_thing(what: str, name: str) -> None:
    with refused(ValueError, re_unknown(name)) as caught:
        USES[what](name)
    assert "did you mean" not in str(caught.value)


def re_unknown(name: str) -> str:
    return f'unknown [a-z_]+ "{name}"'


def test_a_number_in_a_name_is_no_slip() -> None:
    trainer = stoop.Trainer(MODEL, "mse")
    X, y = np.ones((2, 4)), np.ones((2, 3))
    with refused(ValueError, 'unknown parameter in direction "3.bias"; .* use one of these names'):
        trainer.hessian_vector_product(X, y, {"3.bias": np.ones(3)})
    with refused(ValueError, r'did you mean "0\.weight"\?'):
        trainer.hessian_vector_product(X, y, {"0.wieght": np.ones((4, 3))})


def test_a_beginning_that_several_names_share_names_them_all() -> None:
    with refused(ValueError, r'did you mean "lecun_uniform" or "lecun_normal"\?'):
        stoop.Dense(3, kernel_init="lecun_")
    with refused(ValueError, r'did you mean "glorot_uniform" or "glorot_normal"\?'):
        stoop.Dense(3, kernel_init="glor")


@pytest.mark.parametrize("name", ["adaptive", "cosine", "constant", "1e-3"])
def test_a_word_for_a_learning_rate(name: str) -> None:
    with refused(TypeError, "learning_rate is", r"stoop\.schedules\.Cosine"):
        stoop.optimizers.SGD(name)
