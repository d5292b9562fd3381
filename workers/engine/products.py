"""Products of matrices on a CPU, each by the faster of torch's two libraries."""

from functools import cache

import torch

from workers.engine.processors import cpu_vendor

# A smaller product is over before oneDNN has looked up how to make it.
_LEAST_WORK = 2**22


def product(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """a (m, k) times the transpose of b (n, k), and a bias (n,) for each row: (m, n).

    Any strides will do, and no gradient is followed.
    """
    work = a.shape[0] * a.shape[1] * b.shape[0]
    if a.dtype == torch.float32 and work >= _LEAST_WORK and _takes_onednn():
        return by_onednn(a, b, bias)
    return by_blas(a, b, bias)


@cache
def _takes_onednn() -> bool:
    has_mkl, has_onednn = torch.backends.mkl.is_available(), torch.backends.mkldnn.is_available()
    return has_onednn and onednn_is_faster(cpu_vendor(), has_mkl=has_mkl)


def onednn_is_faster(vendor: str, *, has_mkl: bool) -> bool:
    """Whether it is, beside torch's BLAS on such a processor.

    On an Intel one MKL took 0.95 of oneDNN's time, and two thirds where a matrix is transposed. On
    others, where it makes no use of AVX-512, it took twice as long.
    """
    return not (has_mkl and vendor == "GenuineIntel")


def by_onednn(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The product by oneDNN."""
    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    return made


def by_blas(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The product by torch's BLAS: MKL, where it was built with that."""
    return torch.mm(a, b.t()) if bias is None else torch.addmm(bias, a, b.t())
