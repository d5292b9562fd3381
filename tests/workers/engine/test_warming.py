"""Nothing is compiled while a fit waits."""

import itertools
from typing import Any

from tests.workers.engine.given import noisy_plane, sgd, specification
from workers.engine import Data, fit, kernel_rows, kernels, warm_up


def test_warm_up_compiles_for_every_fit() -> None:
    # given a warm process
    warm_up()
    loops: list[Any] = [kernels.descend, kernel_rows.lay_all]
    before = [loop.signatures for loop in loops]
    assert [len(signatures) for signatures in before] == [2, 2]

    # when fits of every kind are computed, numbers given as whole ones and arrays read-only
    data = noisy_plane(n_targets=2)
    frozen = Data(x=data.x.copy(order="F"), y=data.y)
    frozen.x.flags.writeable = False
    cases = itertools.product((None, 7), ("float32", "float64"), (True, False), (data, frozen))
    for batch_size, dtype, bias, rows in cases:
        spec = specification(
            batch_size=batch_size,
            dtype=dtype,
            model={"kind": "linear", "bias": bias},
            optimizer=sgd(lr=1, momentum=1),
            strategy="kernels",
        )
        fit(spec, rows)

    # then they ran on what there was
    assert [loop.signatures for loop in loops] == before
