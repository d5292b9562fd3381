"""Work on a device as one thing to launch: a CUDA graph."""

from collections.abc import Callable

import torch

Work = Callable[[], None]

_WARM_UPS = 3


def captured(work: Work, device: torch.device) -> Work:
    """What does the work again, on tensors that stay where they are.

    On a CUDA device its kernels are recorded once and launched together from then on; that runs it
    several times, so what it changes must be set afterwards. On a CPU it is the work itself.
    """
    if device.type != "cuda":
        return work
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            work()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
