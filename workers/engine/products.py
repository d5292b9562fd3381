"""Products of matrices on a CPU, each by the faster of torch's two libraries."""

import torch

# A smaller product is over before oneDNN has looked up how to make it.
_LEAST_WORK = 2**22
_HAS_ONEDNN = torch.backends.mkldnn.is_available()


def product(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """a (m, k) times the transpose of b (n, k), and a bias (n,) for each row: (m, n).

    Any strides will do, and no gradient is followed. `torch.mm` is MKL's, which takes no more than
    AVX2 on some processors that have AVX-512: float32 products of oneDNN took half of its time
    there, and a transposed matrix need not be copied for it.
    """
    work = a.shape[0] * a.shape[1] * b.shape[0]
    if _HAS_ONEDNN and a.dtype == torch.float32 and work >= _LEAST_WORK:
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
        return made
    return torch.mm(a, b.t()) if bias is None else torch.addmm(bias, a, b.t())
