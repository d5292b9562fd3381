"""Many fits at once, each with the bits that it has alone."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, overload

from workers.engine.data import Data, Shape
from workers.engine.fitting import check, check_weight, fit
from workers.engine.groups import SpectralGroup, common, differ_in_lr_alone, fits_together
from workers.engine.optimizers import Optimizer
from workers.engine.results import Result
from workers.engine.specification import Specification
from workers.engine.threads import cores, one_blas_thread

# A thread is handed this many fits of a group at once: a millisecond's work, or less.
_FITS_A_TASK = 64


class Results(Sequence[Result]):
    """The results of `fit_many`, in the order of the fits; each is put together when asked for."""

    def __init__(self, made: Sequence[Callable[[], Result]]) -> None:
        self._made = made

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, i: int) -> Result: ...

    @overload
    def __getitem__(self, i: slice) -> "Results": ...

    def __getitem__(self, i: int | slice) -> "Result | Results":
        return Results(self._made[i]) if isinstance(i, slice) else self._made[i]()


def fit_many(
    specs: Sequence[Specification], tables: Sequence[Data], *, n_threads: int | None = None
) -> Results:
    """Each specification's fit to its table, as `fit` gives it, to the bit.

    Short fits of least squares that differ in rows, first weights and rates alone are one call of
    a compiled loop; others are fitted side by side by `n_threads`, one a core unless told
    otherwise. Nothing stops them: they should be short. Raises SpecificationError or ValueError
    where one of them cannot begin, as `fit` does.
    """
    for table in tables:
        check_weight(table)
    groups, others = _grouped(specs, tables)
    for i in others:
        check(specs[i], tables[i].shape)
    with ThreadPoolExecutor(n_threads or cores()) as pool, one_blas_thread():
        made = _descended(groups, specs, tables, pool)
        others = [i for i in range(len(specs)) if i not in made]
        results = pool.map(fit, [specs[i] for i in others], [tables[i] for i in others])
        made |= {i: partial(_given, result) for i, result in zip(others, results, strict=True)}
    return Results([made[i] for i in range(len(specs))])


def fit_together(specs: Sequence[Specification], tables: Sequence[Data]) -> dict[int, Result]:
    """Of the fits those that are one call of a compiled loop, by their places; see `fit_many`.

    It takes milliseconds: what has to be made step by step after all is left out. Raises
    SpecificationError or ValueError where one of them cannot begin.
    """
    for table in tables:
        check_weight(table)
    groups, _ = _grouped(specs, tables)
    with ThreadPoolExecutor(1) as pool, one_blas_thread():
        made = _descended(groups, specs, tables, pool)
    return {i: make() for i, make in made.items()}


def _descended(
    groups: Sequence[Sequence[int]],
    specs: Sequence[Specification],
    tables: Sequence[Data],
    pool: Executor,
) -> dict[int, Callable[[], Result]]:
    """What the groups' fits come to, by their places, but for those that no closed form has."""
    made: dict[int, Callable[[], Result]] = {}
    for places in groups:
        group = SpectralGroup([specs[i] for i in places], [tables[i] for i in places])
        _descend(group, pool)
        made |= {i: partial(group.result, at) for at, i in enumerate(places) if group.found(at)}
    return made


def _grouped(
    specs: Sequence[Specification], tables: Sequence[Data]
) -> tuple[list[list[int]], list[int]]:
    """The places of the fits that are alike, and of those that are fitted by themselves."""
    groups: dict[Shape, list[tuple[Any, Optimizer, list[int]]]] = {}
    others: list[int] = []
    for i, (spec, table) in enumerate(zip(specs, tables, strict=True)):
        alike, parts, own = groups.setdefault(table.shape, []), common(spec), spec.optimizer
        for theirs, optimizer, places in alike:
            if parts == theirs and differ_in_lr_alone(own, optimizer):
                places.append(i)
                break
        else:
            if fits_together(spec, table.shape):
                alike.append((parts, own, [i]))
            else:
                others.append(i)
    return [places for alike in groups.values() for _, _, places in alike], others


def _descend(group: SpectralGroup, pool: Executor) -> None:
    began = time.monotonic()
    cuts = range(0, len(group), _FITS_A_TASK)
    tasks = [pool.submit(group.descend, cut, min(cut + _FITS_A_TASK, len(group))) for cut in cuts]
    for task in tasks:
        task.result()
    group.compute_seconds = time.monotonic() - began


def _given(result: Result) -> Result:
    return result
