"""Regressions in libsvm's text format."""

from pathlib import Path

import torch
from torch import Tensor, nn


class SupportVectorRegression(nn.Module):
    """``f(x) = sum_i c_i exp(-gamma |x - v_i|^2) - rho``, an epsilon-SVR with a radial kernel.

    Args:
        vectors: the v, float64 ``(m, k)``.
        coefficients: the c, float64 ``(m,)``.
        gamma: width of the kernel.
        rho: offset.

    Source:
        Chang & Lin, "LIBSVM: a library for support vector machines", https://www.csie.ntu.edu.tw/~cjlin/libsvm/.
    """

    vectors: Tensor
    coefficients: Tensor

    def __init__(self, vectors: Tensor, coefficients: Tensor, gamma: float, rho: float) -> None:
        super().__init__()
        self.gamma, self.rho = gamma, rho
        self.register_buffer("vectors", vectors)
        self.register_buffer("coefficients", coefficients)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Predictions for ``(n, k)``: ``(n,)``."""
        squares = (x[:, None] - self.vectors).square().sum(-1)
        return (-self.gamma * squares).exp() @ self.coefficients - self.rho

    @classmethod
    def load(cls, path: Path) -> "SupportVectorRegression":
        """Read a model file.

        Raises:
            ValueError: for another kind of model, or a file without support vectors.
        """
        head, _, body = path.read_text().partition("\nSV\n")
        header = dict(line.split(" ", 1) for line in head.splitlines())
        kind = (header.get("svm_type"), header.get("kernel_type"))
        if kind != ("epsilon_svr", "rbf"):
            raise ValueError(f"{path} holds a model of {kind}, expected ('epsilon_svr', 'rbf')")
        rows = [line.split() for line in body.splitlines() if line.strip()]
        if len(rows) != int(header["total_sv"]):
            raise ValueError(f"{path} has {len(rows)} support vectors, its header says {header['total_sv']}")
        sparse = [{int(i): float(v) for i, v in (pair.split(":") for pair in row[1:])} for row in rows]
        width = max(max(entries, default=0) for entries in sparse)
        vectors = [[entries.get(index, 0.0) for index in range(1, width + 1)] for entries in sparse]
        coefficients = [float(row[0]) for row in rows]
        return cls(
            torch.tensor(vectors, dtype=torch.float64),
            torch.tensor(coefficients, dtype=torch.float64),
            float(header["gamma"]),
            float(header["rho"]),
        )
