"""Many fits at once, each with the bits that it has alone."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import compress, repeat
from typing import Any, overload

from workers.engine.data import Data
from workers.engine.fitting import check, check_weight, fit
from workers.engine.groups import SpectralGroup, common, differ_in_lr_alone, fits_together
from workers.engine.initialization import CarriedInit
from workers.engine.results import Result
from workers.engine.specification import Specification
from workers.engine.threads import cores, one_blas_thread

# A thread is handed this many fits of a group at once, or more where there are many threads' worth.
_LEAST_FITS_A_TASK = 64
_TASKS_A_THREAD = 3

# What gives a result, and what it is given for that.
Made = tuple[Callable[[Any], Result], Any]


class Results(Sequence[Result]):
    """The results of `fit_many`, in the order of the fits; each is put together when asked for."""

    def __init__(self, made: Sequence[Made]) -> None:
        self._made = made

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, i: int) -> Result: ...

    @overload
    def __getitem__(self, i: slice) -> "Results": ...

    def __getitem__(self, i: int | slice) -> "Result | Results":
        if isinstance(i, slice):
            return Results(self._made[i])
        give, what = self._made[i]
        return give(what)


def fit_many(
    specs: Sequence[Specification], tables: Sequence[Data], *, n_threads: int | None = None
) -> Results:
    """Each specification's fit to its table, as `fit` gives it, to the bit.

    Short fits of least squares that differ in rows, first weights and rates alone are one call of
    a compiled loop; others are fitted side by side by `n_threads`, one a core unless told
    otherwise. Nothing stops them: they should be short. Raises SpecificationError or ValueError
    where one of them cannot begin, as `fit` does.
    """
    _check_weights(tables)
    groups, others = _grouped(specs, tables)
    for i in others:
        check(specs[i], tables[i].shape)
    n_threads = n_threads or cores()
    with ThreadPoolExecutor(n_threads) as pool, one_blas_thread():
        made = _descended(groups, specs, tables, partial(_descend, pool, n_threads))
        others = [i for i in range(len(specs)) if i not in made]
        results = pool.map(fit, [specs[i] for i in others], [tables[i] for i in others])
        made.update(zip(others, zip(repeat(_given), results), strict=True))
    return Results([made[i] for i in range(len(specs))])


def fit_together(specs: Sequence[Specification], tables: Sequence[Data]) -> dict[int, Result]:
    """Of the fits those that are one call of a compiled loop, by their places; see `fit_many`.

    It takes milliseconds: what has to be made step by step after all is left out. Raises
    SpecificationError or ValueError where one of them cannot begin.
    """
    _check_weights(tables)
    groups, _ = _grouped(specs, tables)
    with one_blas_thread():
        made = _descended(groups, specs, tables, _descend_alone)
    return {i: give(what) for i, (give, what) in made.items()}


def _check_weights(tables: Sequence[Data]) -> None:
    for table in tables:
        if table.weight is not None:
            check_weight(table)


def _descended(
    groups: Sequence[Sequence[int]],
    specs: Sequence[Specification],
    tables: Sequence[Data],
    descend: Callable[[SpectralGroup], None],
) -> dict[int, Made]:
    """What the groups' fits come to, by their places, but for those that no closed form has."""
    made: dict[int, Made] = {}
    for places in groups:
        group = SpectralGroup([specs[i] for i in places], [tables[i] for i in places])
        began = time.monotonic()
        descend(group)
        group.compute_seconds = time.monotonic() - began
        results = zip(places, zip(repeat(group.result), range(len(group))), strict=True)
        made.update(compress(results, group.found()))
    return made


def _grouped(
    specs: Sequence[Specification], tables: Sequence[Data]
) -> tuple[list[list[int]], list[int]]:
    """The places of the fits that are alike, and of those that are fitted by themselves."""
    groups: dict[Any, list[tuple[Specification, Any, list[int]]]] = {}
    others: list[int] = []
    for i, (spec, table) in enumerate(zip(specs, tables, strict=True)):
        # What makes up the table's shape: that itself takes longer than all the rest.
        size = (table.x.shape, table.y.shape, table.weight is None, table.n_classes)
        alike, parts = groups.setdefault(size, []), common(spec)
        # What it goes on from stands beside the specification, and not in it.
        begins = not isinstance(spec.init, CarriedInit)
        for first, theirs, places in alike:
            if begins and parts == theirs and differ_in_lr_alone(spec.optimizer, first.optimizer):
                places.append(i)
                break
        else:
            if fits_together(spec, table.shape):
                alike.append((spec, parts, [i]))
            else:
                others.append(i)
    return [places for alike in groups.values() for _, _, places in alike], others


def _descend(pool: Executor, n_threads: int, group: SpectralGroup) -> None:
    size = max(_LEAST_FITS_A_TASK, -(-len(group) // (n_threads * _TASKS_A_THREAD)))
    cuts = range(0, len(group), size)
    tasks = [pool.submit(group.descend, cut, min(cut + size, len(group))) for cut in cuts]
    for task in tasks:
        task.result()


def _descend_alone(group: SpectralGroup) -> None:
    group.descend(0, len(group))


def _given(result: Result) -> Result:
    return result
