"""Products of matrices on a CPU, each by the faster of torch's two libraries."""

import torch

from workers.engine.processors import vendor

# A smaller product is over before oneDNN has looked up how to make it.
_LEAST_WORK = 2**22
_MKL_IS_AHEAD = torch.backends.mkl.is_available() and vendor() == "GenuineIntel"
_TAKES_ONEDNN = torch.backends.mkldnn.is_available() and not _MKL_IS_AHEAD


def product(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """a (m, k) times the transpose of b (n, k), and a bias (n,) for each row: (m, n).

    Any strides will do, and no gradient is followed. `torch.mm` is MKL's. On Intel's processors it
    is ahead of oneDNN, of transposed matrices by a half; on AMD's it takes no more than AVX2, and
    float32 products of oneDNN take half of its time.
    """
    work = a.shape[0] * a.shape[1] * b.shape[0]
    if _TAKES_ONEDNN and a.dtype == torch.float32 and work >= _LEAST_WORK:
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
        return made
    return torch.mm(a, b.t()) if bias is None else torch.addmm(bias, a, b.t())
