"""The `tabm` package on PyTorch, trained as the example of its repository advises.

Numbers: QuantileTransformer to normal, then PiecewiseLinearEmbeddings of 48 quantile bins, version B. AdamW at 2e-3
with a decay of 3e-4, gradients clipped to a norm of 1, batches of 256, the best epoch after a patience of 16. The
example goes by the accuracy on the validation rows, which is no guide where they are few; here it is the loss of the
mean prediction. The network is that of Stoop: TabM-mini, 16 members, two blocks of 256, dropout 0.1.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import rtdl_num_embeddings
import tabm
import torch
from engines import Request
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, QuantileTransformer

MEMBERS, WIDTH, BLOCKS, DROPOUT, BINS, BATCH, PATIENCE, EPOCHS = 16, 256, 2, 0.1, 48, 256, 16, 200


class Encoded(torch.nn.Module):
    """TabM-mini on the encoding itself (PiecewiseLinearEncoding), without the linear layers of the embeddings."""

    def __init__(self, bins: list[torch.Tensor], codes: list[int], outputs: int, members: int = MEMBERS) -> None:
        super().__init__()
        self.encoding = rtdl_num_embeddings.PiecewiseLinearEncoding(bins)
        sizes = [len(edges) - 1 for edges in bins] + codes
        self.one_hot = tabm._OneHotEncoding(codes) if codes else None
        self.view = tabm.EnsembleView(k=members)
        self.backbone = tabm.make_tabm_backbone(
            d_in=sum(sizes), n_blocks=BLOCKS, d_block=WIDTH, dropout=DROPOUT, k=members, arch_type="tabm-mini",
            start_scaling_init="normal", start_scaling_init_chunks=sizes,
        )  # fmt: skip
        self.output = tabm.LinearEnsemble(WIDTH, outputs, k=members)

    def forward(self, numbers: Any, codes: Any) -> Any:
        """Return the outputs (rows, members, outputs)."""
        parts = [] if numbers is None else [self.encoding(numbers)]
        if self.one_hot is not None:
            parts.append(self.one_hot(codes).float())
        return self.output(self.backbone(self.view(torch.column_stack(parts))))


def build(numbers: Any, codes: list[int], outputs: int, encoded: bool) -> torch.nn.Module:
    """Return the network for these training numbers (None without any)."""
    bins = []
    if numbers is not None:
        bins = rtdl_num_embeddings.compute_bins(numbers, n_bins=min(BINS, len(numbers) - 1))
    if encoded:
        return Encoded(bins, codes, outputs)
    embeddings = None
    if numbers is not None:
        embeddings = rtdl_num_embeddings.PiecewiseLinearEmbeddings(bins, 16, activation=False, version="B")
    return tabm.TabM.make(
        n_num_features=len(bins), cat_cardinalities=codes, d_out=outputs, num_embeddings=embeddings, k=MEMBERS,
        n_blocks=BLOCKS, d_block=WIDTH, dropout=DROPOUT, arch_type="tabm-mini",
    )  # fmt: skip


class TabM:
    """An estimator around it. `encoded` leaves out the linear layers of the embeddings, `mixed` computes in bfloat16
    where PyTorch advises it (the example's `amp_enabled`); `curve` holds the epochs, by the seconds of `clock`.
    """

    def __init__(
        self,
        request: Request,
        encoded: bool = False,
        mixed: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.request, self.encoded, self.mixed, self.clock = request, encoded, mixed, clock
        self.curve: list[tuple[float, float]] = []  # seconds since the start, validation loss

    def fit(self, X: Any, y: Any) -> TabM:
        """Hold out 15 % of the rows and train on the others."""
        held = {
            "test_size": 0.15,
            "random_state": self.request.seed,
            "stratify": None if self.request.regression else y,
        }
        self.train(X, y, *train_test_split(np.arange(len(y)), **held))
        return self

    def train(self, X: Any, y: Any, train: Any, dev: Any, epochs: int = EPOCHS, patience: int = PATIENCE) -> None:
        """Prepare the columns and train on these rows, until the loss on the others does not fall any more."""
        started = self.clock()
        torch.manual_seed(self.request.seed)
        regression = self.request.regression
        if regression:
            self.middle, self.scale = y.mean(), y.std() or 1.0
            targets = torch.as_tensor((y - self.middle) / self.scale, dtype=torch.float32)
        else:
            self.classes_, codes = np.unique(y, return_inverse=True)
            targets = torch.as_tensor(codes, dtype=torch.long)
        self._prepare(X.iloc[train])
        parts = [(*self._columns(X.iloc[rows]), targets[rows]) for rows in (train, dev)]
        outputs = 1 if regression else len(self.classes_)
        self.model = build(parts[0][0], self.codes, outputs, self.encoded)
        with threads(self.request.threads):
            self._epochs(parts, epochs, patience, started)

    def predict(self, X: Any) -> Any:
        """Return the mean of the members' values."""
        return self._outputs(X).mean(1)[:, 0].numpy() * self.scale + self.middle

    def predict_proba(self, X: Any) -> Any:
        """Return the mean of the members' probabilities."""
        return self._outputs(X).softmax(-1).mean(1).numpy()

    def probe(self, X: Any, y: Any) -> float:
        """Return the seconds of some steps with the threads of the request, after as many untimed ones."""
        rows = slice(0, 6 * BATCH)
        self.train(X, y, rows, rows, epochs=2)
        return self.curve[1][0] - self.curve[0][0]

    def _prepare(self, X: Any) -> None:
        numbers = X.select_dtypes("number")
        filled = numbers.fillna(numbers.median())
        self.numbers = [name for name in numbers if filled[name].nunique() > 1]  # the package refuses constant columns
        self.names = list(X.select_dtypes(exclude="number"))
        if self.numbers:
            chosen = numbers[self.numbers].to_numpy(np.float32)
            noise = np.random.default_rng(0).normal(0.0, 1e-5, chosen.shape).astype(np.float32)
            quantiles = QuantileTransformer(
                n_quantiles=max(min(len(X) // 30, 1000), 10), output_distribution="normal", subsample=10**9
            )
            self.scaler = make_pipeline(SimpleImputer(strategy="median"), quantiles).fit(chosen + noise)
        if self.names:
            self.encoder = OrdinalEncoder(
                handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1, dtype=np.int64
            ).fit(X[self.names])
            self.codes = [len(known) + 1 for known in self.encoder.categories_]
        else:
            self.codes = []

    def _columns(self, X: Any) -> tuple[Any, Any]:
        """Return numbers and codes; the code after the known ones stands for what is unknown or missing."""
        numbers = codes = None
        if self.numbers:
            numbers = torch.as_tensor(self.scaler.transform(X[self.numbers].to_numpy(np.float32)).astype(np.float32))
        if self.names:
            found = self.encoder.transform(X[self.names])
            codes = torch.as_tensor(np.where(found < 0, np.asarray(self.codes) - 1, found))
        return numbers, codes

    def _outputs(self, X: Any) -> torch.Tensor:
        with threads(self.request.threads):
            return self._forward(*self._columns(X))

    def _forward(self, numbers: Any, codes: Any) -> torch.Tensor:
        self.model.eval()
        parts = []
        rows = len(codes if numbers is None else numbers)
        with torch.inference_mode():
            for first in range(0, rows, 8096):
                part = slice(first, first + 8096)
                parts.append(self._apply(numbers, codes, part))
        return torch.cat(parts)

    def _apply(self, numbers: Any, codes: Any, rows: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.mixed):
            return self.model(*(None if each is None else each[rows] for each in (numbers, codes))).float()

    def _error(self, numbers: Any, codes: Any, targets: Any) -> float:
        """Return the loss of the mean prediction."""
        outputs = self._forward(numbers, codes)
        if self.request.regression:
            return float(((outputs.mean(1)[:, 0] - targets) ** 2).mean())
        return float(torch.nn.functional.nll_loss(outputs.softmax(-1).mean(1).log(), targets))

    def _loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean of the members' losses."""
        targets, outputs = targets.repeat_interleave(outputs.shape[1]), outputs.flatten(0, 1)
        if self.request.regression:
            return torch.nn.functional.mse_loss(outputs[:, 0], targets)
        return torch.nn.functional.cross_entropy(outputs, targets)

    def _epochs(self, parts: list[Any], epochs: int, patience: int, started: float) -> None:
        """Train, and take the weights of the best epoch."""
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-3, weight_decay=3e-4)
        best, kept, waited = np.inf, self.model.state_dict(), 0
        for _ in range(epochs):
            self._epoch(optimizer, parts[0])
            error = self._error(*parts[1])
            self.curve.append((self.clock() - started, error))
            if error < best:
                best, waited = error, 0
                kept = {name: value.clone() for name, value in self.model.state_dict().items()}
            else:
                waited += 1
            if waited >= patience or (self.request.limit and self.curve[-1][0] > self.request.limit):
                break
        self.model.load_state_dict(kept)

    def _epoch(self, optimizer: Any, train: Any) -> None:
        self.model.train()
        numbers, codes, targets = train
        for rows in torch.randperm(len(targets)).split(BATCH):
            optimizer.zero_grad()
            outputs = self._apply(numbers, codes, rows)
            self._loss(outputs, targets[rows]).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()


class threads:  # noqa: N801 -- a context manager
    """So many threads of PyTorch within."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.count)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.before)


warnings.filterwarnings("ignore", module="tabm")
