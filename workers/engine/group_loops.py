"""The compiled loop over many small fits of least squares, each of them by itself."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine import lane_loops, spectral_loops, spectrum_loops, table_loops
from workers.engine.compiled import borrowed, compiled_to_the_letter, internal_to_the_letter
from workers.engine.compiled_lanes import N_LANES
from workers.engine.lane_loops import Histories, Scratch, Steps
from workers.engine.spectral_loops import HeldOut, Record, Rule, Span, State
from workers.engine.spectrum_loops import Spectrum
from workers.engine.table_loops import Line, Table

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


class Group(NamedTuple):
    """B fits that differ in their rows, their first weights and their rates.

    x (B, n, d), y (B, n, k) and weight (B, n), or (B, 0) where all rows count alike; coefficients
    (B, k, p), the bias last. lr and momentum (R, T) have a row a path of rates, and path (B,) says
    which is whose.
    """

    x: Floats
    y: Floats
    weight: Floats
    coefficients: Floats
    lr: Floats
    momentum: Floats
    path: Whole


class Form(NamedTuple):
    """What the group's fits have in common: a history keeps every so many steps.

    They are `alike` where their steps are, but for the rates: then a line of lanes may make them.
    Nothing moves before the first of them. numba would take a constant for a type of its own, and
    compile the descent once more.
    """

    line: Line
    rule: Rule
    every: int
    single: bool
    alike: bool
    moving: bool = False


class Descended(NamedTuple):
    """What the group's fits came to; found (B,) says whose numbers mean something.

    The spectra: basis (B, p, p), scale (B, p), pull (B, k, p), rest (B,), n_values (B,). The
    state after the last update: place, pulled and velocity (B, 2·k·p), and moving (B,). The weights
    as they are given back, weights (B, k, p), in the fit's dtype, and their loss, final_loss (B,).
    The history: loss and grad_norm (B, m), epoch_sums (B, T), n_steps, n_losses and why (B,).
    """

    found: Whole
    basis: Floats
    scale: Floats
    pull: Floats
    rest: Floats
    n_values: Floats
    place: Floats
    pulled: Floats
    velocity: Floats
    moving: Whole
    weights: Floats
    final_loss: Floats
    loss: Floats
    grad_norm: Floats
    epoch_sums: Floats
    n_steps: Whole
    n_losses: Whole
    why: Whole


def room(group: Group, every: int) -> Descended:
    """Room for what the fits come to, of a history that keeps every so many steps."""
    n_fits, n_targets, width = group.coefficients.shape
    n_steps = group.lr.shape[1]
    n_kept = -(-n_steps // every)
    size = n_targets * width

    def numbers(*shape: int) -> Floats:
        return np.empty((n_fits, *shape))

    def counts() -> Whole:
        return np.zeros(n_fits, np.int64)

    return Descended(
        found=counts(),
        basis=numbers(width, width),
        scale=numbers(width),
        pull=numbers(n_targets, width),
        rest=numbers(),
        n_values=numbers(),
        place=numbers(2 * size),
        pulled=numbers(2 * size),
        velocity=numbers(2 * size),
        moving=counts(),
        weights=numbers(n_targets, width),
        final_loss=numbers(),
        loss=numbers(n_kept),
        grad_norm=numbers(n_kept),
        epoch_sums=numbers(n_steps),
        n_steps=counts(),
        n_losses=counts(),
        why=counts(),
    )


@compiled_to_the_letter
def descend_group(group: Group, form: Form, out: Descended, first: int, stop: int) -> None:
    """Fit those of the cut [first, stop), each as if it were alone."""
    scratch = lane_loops.scratch_for(group.x, group.coefficients)
    _descend_cut(group, form, out, scratch, (first, stop))


@internal_to_the_letter
def _descend_cut(
    group: Group, form: Form, out: Descended, scratch: Scratch, cut: tuple[int, int]
) -> None:
    group, out, scratch = borrowed(group), borrowed(out), borrowed(scratch)
    b, stop = cut
    while b < stop:
        n = min(N_LANES, stop - b)
        if not (form.alike and n == N_LANES and _descend_line(group, form, out, scratch, b)):
            for i in range(b, b + n):
                _descend_alone(group, form, out, i)
        b += n


@internal_to_the_letter
def _descend_line(group: Group, form: Form, out: Descended, scratch: Scratch, first: int) -> bool:
    """Fit as many as there are lanes, from the first on; False where they are not all alike."""
    line, n_targets = form.line, group.coefficients.shape[1]
    stop = first + N_LANES
    for b in range(first, stop):
        lane_loops.lay_table(scratch, _table(group, form, b), group.coefficients[b], b - first)
    lane_loops.take_moments(scratch, line.has_bias)
    for b in range(first, stop):
        told = lane_loops.moments_of(scratch, b - first)
        if not _enter(group, form, out, b, told):
            return False
        spectrum = Spectrum(out.basis[b], out.scale[b], out.pull[b], out.rest[b])
        lane_loops.lay_spectrum(scratch, spectrum, group.coefficients[b], b - first)
        sure_loss = spectral_loops.sure_loss_of(form.rule, line.l2, out.n_values[b])
        scratch.sure_loss[b - first] = sure_loss
    path = group.path[first:stop]
    steps = Steps(group.lr, path, group.momentum[path[0]])
    histories = Histories(
        out.loss[first:stop], out.grad_norm[first:stop], out.epoch_sums[first:stop], form.every
    )
    if not lane_loops.descend(scratch, form.rule, steps, histories, n_targets):
        return False
    _take(group, form, out, scratch, first)
    lane_loops.sum_squares(scratch, line.has_bias)
    for b in range(first, stop):
        squares, total = scratch.loss[b - first], scratch.moments.total[b - first]
        out.final_loss[b] = table_loops.loss_of(squares, total, out.weights[b], line)
    return True


@internal_to_the_letter
def _take(group: Group, form: Form, out: Descended, scratch: Scratch, first: int) -> None:
    """What the fits came to by their last step, and their weights, where the loss is taken next."""
    size, n_steps = len(scratch.place) // N_LANES, group.lr.shape[1]
    now = n_steps % 2 * size
    for lane in range(N_LANES):
        b = first + lane
        for i in range(size):
            place = i * N_LANES + lane
            out.place[b, now + i] = scratch.place[place]
            out.pulled[b, now + i] = scratch.pull[place]
            out.velocity[b, now + i] = scratch.velocity[place]
        out.n_steps[b], out.n_losses[b], out.why[b] = n_steps, n_steps, spectral_loops.DONE
        out.moving[b] = _moves(group.momentum[group.path[b]])
        _turn(out, b, now, group.coefficients[b], form.single)
        lane_loops.lay_coefficients(scratch, out.weights[b], lane)


@internal_to_the_letter
def _moves(momentum: Floats) -> bool:
    """Whether any step leaves a velocity behind."""
    moving = False
    for one in momentum:
        moving = moving or one != 0.0
    return moving


@internal_to_the_letter
def _turn(out: Descended, b: int, now: int, coefficients: Floats, single: bool) -> None:
    """From the place to the weights in the fit's dtype, as `spectral_loops.turn`."""
    n_targets, width = coefficients.shape
    for target in range(n_targets):
        for j in range(width):
            turned = 0.0
            for i in range(width):
                turned += out.place[b, now + target * width + i] * out.basis[b, j, i]
            weight = coefficients[target, j] + turned
            out.weights[b, target, j] = table_loops.seen(weight, single)


@internal_to_the_letter
def _descend_alone(group: Group, form: Form, out: Descended, b: int) -> None:
    table, line = _table(group, form, b), form.line
    columns = table_loops.columns_of(table)
    moments = table_loops.moments_at(columns, group.coefficients[b], line.has_bias)
    if _enter(group, form, out, b, moments):
        _descend_one(group, form, out, b)
        _settle(table, line, out, b)


@internal_to_the_letter
def _table(group: Group, form: Form, b: int) -> Table:
    return Table(group.x[b], group.y[b], group.weight[b], form.single)


@internal_to_the_letter
def _enter(
    group: Group, form: Form, out: Descended, b: int, moments: tuple[float, Floats, Floats]
) -> bool:
    """Lay down what the rows' moments tell; False where that is of no use."""
    found, _, spectrum, n_values = table_loops.told(
        _table(group, form, b), group.coefficients[b], form.line, moments
    )
    out.found[b] = found
    if found != table_loops.FOUND:
        return False
    spectrum_loops.put(spectrum.basis, out.basis[b])
    spectrum_loops.put(spectrum.pull, out.pull[b])
    for i in range(len(spectrum.scale)):
        out.scale[b, i] = spectrum.scale[i]
    out.rest[b], out.n_values[b] = spectrum.rest, n_values
    return True


@internal_to_the_letter
def _descend_one(group: Group, form: Form, out: Descended, b: int) -> None:
    size = group.coefficients.shape[1] * group.coefficients.shape[2]
    line = form.line
    spectrum = Spectrum(out.basis[b], out.scale[b], out.pull[b], out.rest[b])
    curve = spectral_loops.curve_of(
        spectrum, group.coefficients[b], out.n_values[b], line.l2, line.has_bias
    )
    out.place[b], out.pulled[b], out.velocity[b] = 0.0, 0.0, 0.0
    out.pulled[b, :size] = spectrum.pull.ravel()
    state = State(
        place=out.place[b],
        pull=out.pulled[b],
        velocity=out.velocity[b],
        direction=np.zeros(size),
        last_pull=np.zeros(size),
        best=np.zeros(size),
        watch=np.array([np.inf, 0.0, 0.0]),
        keeps_pull=form.moving,
    )
    nobody = HeldOut(np.empty((0, 0)), np.empty((0, 0)), 0.0, 0.0)
    record = Record(out.loss[b], out.grad_norm[b], out.epoch_sums[b], np.empty(0), form.every)
    span = Span(0, group.lr[group.path[b]], group.momentum[group.path[b]])
    end = spectral_loops.descend(curve, nobody, form.rule, state, record, span, form.moving)
    out.n_steps[b], out.n_losses[b], out.why[b] = end.n_steps, end.n_losses, end.why
    out.moving[b] = end.moving
    now = end.n_steps % 2 * size
    place = state.best if state.watch[2] > 0.0 else state.place[now : now + size]
    weights = curve.origin + spectral_loops.turn(curve.axes, place)
    out.weights[b] = weights.reshape(group.coefficients[b].shape)


@internal_to_the_letter
def _settle(table: Table, line: Line, out: Descended, b: int) -> None:
    """The weights in the fit's dtype, and their loss."""
    n_targets, width = out.weights.shape[1:]
    for target in range(n_targets):
        for i in range(width):
            out.weights[b, target, i] = table_loops.seen(out.weights[b, target, i], table.single)
    out.final_loss[b] = table_loops.loss_over(table, out.weights[b], line)
