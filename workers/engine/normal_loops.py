"""The compiled loop of full-batch least squares by any optimizer of torch that does not search."""

import math

import numpy as np

from workers.engine.compiled import compiled, inlined
from workers.engine.normal_problem import (
    Ends,
    Outcome,
    Plateau,
    Problem,
    Quadratic,
    Record,
    Rule,
    Span,
    State,
)

# Why the loop ended.
DONE, FAILED, AT_REST, NO_BETTER = range(4)
# What torch adds to a norm before it divides by it.
_CLIPPING = 1e-6
# Below it RAdam's variance has no rectification.
_LEAST_RHO = 5.0
# The rules; AdamW is Adam with another decay.
SGD, ADAM, ADAMAX, NADAM, RADAM, RMSPROP, ADAGRAD, ADADELTA, ASGD, RPROP = range(10)


@compiled
def descend(problem: Problem, state: State, record: Record, span: Span) -> Outcome:
    """Make the span's updates, or fewer where one ends the fit.

    The state is all that goes from one call to the next.
    """
    ends, plateau, first = problem.ends, problem.plateau, span.first
    last_loss = last_lr = math.nan
    for t in range(len(span.lr)):
        step = first + t
        loss = _evaluate(problem, problem.train, state)
        if loss == math.inf:
            return Outcome(step, step, last_loss, last_lr, FAILED)
        grad_norm, steepest = _slope(problem, state)
        if steepest < ends.tolerance:
            return Outcome(step, step, last_loss, last_lr, AT_REST)
        last_loss, last_lr = loss, state.plateau[0] if plateau.moves else span.lr[t]
        _enter(record, step, loss, grad_norm, last_lr)
        norm = grad_norm + _CLIPPING
        share = ends.clip_grad_norm / norm if norm > ends.clip_grad_norm else 1.0
        _update(problem.rule, state, last_lr, span.momentum[t], share)
        if not _accept(state, ends.largest):
            return Outcome(step, step + 1, last_loss, last_lr, FAILED)
        monitored = loss
        if problem.held_out.n_values > 0.0:
            monitored = _evaluate(problem, problem.held_out, state)
            record.validation_loss[step] = monitored
        if plateau.moves:
            _move(plateau, state, loss if plateau.monitors_train else monitored)
        watched = loss if ends.monitors_train else monitored
        if ends.patience >= 0 and _is_no_better(ends, state, watched):
            return Outcome(step + 1, step + 1, last_loss, last_lr, NO_BETTER)
    stop = first + len(span.lr)
    return Outcome(stop, stop, last_loss, last_lr, DONE)


@inlined
def _enter(record: Record, step: int, loss: float, grad_norm: float, lr: float) -> None:
    record.epoch_sums[step] = loss
    if step % record.every == 0:
        row = step // record.every
        record.loss[row], record.grad_norm[row], record.lr[row] = loss, grad_norm, lr


@inlined
def _evaluate(problem: Problem, of: Quadratic, state: State) -> float:
    """The loss, penalties included, infinite past the dtype's range; leaves the residual."""
    residual, transposed = state.residual, of.transposed
    weights, origin = state.weights, problem.origin
    n_targets, size = residual.shape
    for target in range(n_targets):
        for i in range(size):
            residual[target, i] = of.offset[target, i]
    for j in range(size):
        column = transposed[j]
        for target in range(n_targets):
            moved = weights[target * size + j] - origin[target * size + j]
            row = residual[target]
            for i in range(j + 1):
                row[i] += moved * column[i]
    squares = 0.0
    for target in range(n_targets):
        for i in range(size):
            squares += residual[target, i] * residual[target, i]
    loss = of.rest + squares / n_targets
    if problem.penalty.l1 != 0.0:
        loss += _penalties(problem, state)[0]
    sure = loss <= problem.ends.sure_loss or _is_in_range(problem, of, state, loss)
    return loss * (1.0 + problem.rounding.loss) if sure else math.inf


@compiled
def _penalties(problem: Problem, state: State) -> tuple[float, float, bool]:
    """Those of l1 and of l2, and whether their sums are numbers of the dtype."""
    n_targets, size = state.residual.shape
    l1, l2, largest = problem.penalty.l1, problem.penalty.l2, problem.ends.largest
    total = squares = 0.0
    for target in range(n_targets):
        for j in range(problem.penalty.n_features):
            weight = state.weights[target * size + j]
            total += abs(weight) if l1 != 0.0 else 0.0
            squares += weight * weight if l2 != 0.0 else 0.0
    return l1 * total, l2 * squares, total <= largest and squares <= largest


@compiled
def _is_in_range(problem: Problem, of: Quadratic, state: State, loss: float) -> bool:
    """Whether the sums that a loss is made of are numbers of the dtype."""
    lasso, ridge, fits = _penalties(problem, state)
    largest = problem.ends.largest
    return fits and lasso + ridge <= largest and (loss - lasso - ridge) * of.n_values <= largest


@inlined
def _slope(problem: Problem, state: State) -> tuple[float, float]:
    """The gradient's norm and its largest entry; leaves the gradient."""
    residual, gradient, triangle = state.residual, state.gradient, problem.train.triangle
    n_targets, size = residual.shape
    for k in range(len(gradient)):
        gradient[k] = 0.0
    for i in range(size):
        row = triangle[i]
        for target in range(n_targets):
            pull = 2.0 / n_targets * residual[target, i]
            along = gradient[target * size : target * size + size]
            for j in range(i, size):
                along[j] += pull * row[j]
    if problem.penalty.l1 != 0.0 or len(problem.rounding.norm):
        _add_to_slope(problem, state)
    squares = steepest = 0.0
    for k in range(len(gradient)):
        gradient[k] = _bounded(gradient[k], problem.ends.largest)
        squares += gradient[k] * gradient[k]
        steepest = max(steepest, abs(gradient[k]))
    return math.sqrt(squares), steepest


@compiled
def _add_to_slope(problem: Problem, state: State) -> None:
    """What the l1 penalty, and in a rehearsal the rounding, add to the gradient."""
    gradient, weights, rounding = state.gradient, state.weights, problem.rounding
    n_targets, size = state.residual.shape
    for target in range(n_targets):
        first = target * size
        for j in range(first, first + problem.penalty.n_features):
            gradient[j] += problem.penalty.l1 * np.sign(weights[j])
        if len(rounding.norm):
            of = rounding.base[target]
            for j in range(size):
                of += rounding.norm[j] * abs(weights[first + j])
            for j in range(size):
                gradient[first + j] += rounding.slope[first + j] * of


@inlined
def _bounded(number: float, largest: float) -> float:
    """The number, or an infinity where the dtype has no such number."""
    return number if abs(number) <= largest else number * math.inf


@inlined
def _accept(state: State, largest: float) -> bool:
    """Take the new parameters, if all of them are numbers of the dtype."""
    weights, candidate = state.weights, state.candidate
    fits = True
    for i in range(len(candidate)):
        fits = fits and abs(candidate[i]) <= largest
    if fits:
        for i in range(len(candidate)):
            weights[i] = candidate[i]
    return fits


@compiled
def _move(plateau: Plateau, state: State, loss: float) -> None:
    """ReduceLROnPlateau's step."""
    of = state.plateau
    threshold = plateau.sign * plateau.threshold
    bar = of[1] * (1.0 - threshold) if plateau.relative else of[1] - threshold
    if plateau.sign * loss < plateau.sign * bar:
        of[1], of[2] = loss, 0.0
    else:
        of[2] += 1.0
    if of[3] > 0.0:
        of[3] -= 1.0
        of[2] = 0.0
    if of[2] > plateau.patience:
        lower = max(of[0] * plateau.factor, plateau.min_lr)
        if of[0] - lower > plateau.eps:
            of[0] = lower
        of[3], of[2] = plateau.cooldown, 0.0


@compiled
def _is_no_better(ends: Ends, state: State, loss: float) -> bool:
    """Look at the epoch's loss, as `workers.engine.early_stopping.Patience`."""
    watch = state.watch
    if loss < watch[0] - ends.min_delta:
        watch[0], watch[1] = loss, 0.0
        if ends.keeps_best:
            watch[2] = 1.0
            state.best[:] = state.weights
    else:
        watch[1] += 1.0
    return bool(watch[1] >= ends.patience)


@inlined
def _turn(rule: Rule, state: State, share: float) -> None:
    """The direction: the gradient's share with weight decay, downhill or up."""
    scale = -share if rule.maximize else share
    weight_decay = 0.0 if rule.decoupled else rule.weight_decay
    for i in range(len(state.weights)):
        g = scale * state.gradient[i] + weight_decay * state.weights[i]
        state.direction[i] = _bounded(g, rule.largest)


@inlined
def _update(rule: Rule, state: State, lr: float, momentum: float, share: float) -> None:
    """The candidate, by torch.optim's rule: its single-tensor form, operation by operation."""
    _turn(rule, state, share)
    state.counts[0] += 1.0
    kept = 1.0 - lr * rule.weight_decay if rule.decoupled else 1.0
    if rule.kind == SGD:
        _sgd(rule, state, lr, momentum)
    elif rule.kind == ADAM:
        _adam(rule, state, lr, momentum, kept)
    elif rule.kind == ADAMAX:
        _adamax(rule, state, lr, momentum)
    elif rule.kind == NADAM:
        _nadam(rule, state, lr, momentum, kept)
    elif rule.kind == RADAM:
        _radam(rule, state, lr, momentum, kept)
    elif rule.kind == RMSPROP:
        _rmsprop(rule, state, lr, momentum)
    elif rule.kind == ADAGRAD:
        _adagrad(rule, state, lr)
    elif rule.kind == ADADELTA:
        _adadelta(rule, state, lr)
    elif rule.kind == ASGD:
        _asgd(rule, state, lr)
    else:
        _rprop(rule, state)


@compiled
def _sgd(rule: Rule, state: State, lr: float, momentum: float) -> None:
    for i in range(len(state.weights)):
        g = state.direction[i]
        if momentum != 0.0:
            velocity = g
            if state.counts[4] != 0.0:
                velocity = momentum * state.mean[i] + (1.0 - rule.dampening) * g
            state.mean[i] = velocity
            g = g + momentum * velocity if rule.nesterov else velocity
        state.candidate[i] = state.weights[i] - lr * g
    if momentum != 0.0:
        state.counts[4] = 1.0


@compiled
def _adam(rule: Rule, state: State, lr: float, beta1: float, kept: float) -> None:
    number = state.counts[0]
    step = lr / (1.0 - beta1**number)
    spread = math.sqrt(1.0 - rule.beta2**number)
    for i in range(len(state.weights)):
        g = state.direction[i]
        m = state.mean[i] + (1.0 - beta1) * (g - state.mean[i])
        v = _bounded(rule.beta2 * state.square[i] + (1.0 - rule.beta2) * (g * g), rule.largest)
        state.mean[i], state.square[i] = m, v
        if rule.amsgrad:
            v = max(state.other[i], v)
            state.other[i] = v
        state.candidate[i] = kept * state.weights[i] - step * (
            m / (math.sqrt(v) / spread + rule.eps)
        )


@compiled
def _adamax(rule: Rule, state: State, lr: float, beta1: float) -> None:
    step = lr / (1.0 - beta1 ** state.counts[0])
    for i in range(len(state.weights)):
        g = state.direction[i]
        m = state.mean[i] + (1.0 - beta1) * (g - state.mean[i])
        v = max(rule.beta2 * state.square[i], abs(g) + rule.eps)
        state.mean[i], state.square[i] = m, v
        state.candidate[i] = state.weights[i] - step * (m / v)


@compiled
def _nadam(rule: Rule, state: State, lr: float, beta1: float, kept: float) -> None:
    number, decay = state.counts[0], rule.momentum_decay
    mu = beta1 * (1.0 - 0.5 * 0.96 ** (number * decay))
    following = beta1 * (1.0 - 0.5 * 0.96 ** ((number + 1.0) * decay))
    # torch keeps this product in float32, whatever the parameters are.
    product = np.float64(np.float32(state.counts[1]) * np.float32(mu))
    state.counts[1] = product
    near, ahead = lr * (1.0 - mu) / (1.0 - product), lr * following / (1.0 - product * following)
    correction = 1.0 - rule.beta2**number
    for i in range(len(state.weights)):
        g = state.direction[i]
        m = state.mean[i] + (1.0 - beta1) * (g - state.mean[i])
        v = _bounded(rule.beta2 * state.square[i] + (1.0 - rule.beta2) * (g * g), rule.largest)
        state.mean[i], state.square[i] = m, v
        root = math.sqrt(v / correction) + rule.eps
        state.candidate[i] = kept * state.weights[i] - near * (g / root) - ahead * (m / root)


@compiled
def _radam(rule: Rule, state: State, lr: float, beta1: float, kept: float) -> None:
    number, beta2 = state.counts[0], rule.beta2
    correction = 1.0 - beta2**number
    limit = 2.0 / (1.0 - beta2) - 1.0
    rho = limit - 2.0 * number * beta2**number / correction
    share = correction * (rho - 4.0) * (rho - 2.0) * limit
    rect = math.sqrt(share / ((limit - 4.0) * (limit - 2.0) * rho)) if rho > _LEAST_RHO else 0.0
    step = lr / (1.0 - beta1**number)
    for i in range(len(state.weights)):
        g = state.direction[i]
        m = state.mean[i] + (1.0 - beta1) * (g - state.mean[i])
        v = _bounded(beta2 * state.square[i] + (1.0 - beta2) * (g * g), rule.largest)
        state.mean[i], state.square[i] = m, v
        moved = step * m
        if rho > _LEAST_RHO:
            moved *= rect / (math.sqrt(v) + rule.eps)
        state.candidate[i] = kept * state.weights[i] - moved


@compiled
def _rmsprop(rule: Rule, state: State, lr: float, momentum: float) -> None:
    for i in range(len(state.weights)):
        g = state.direction[i]
        v = _bounded(rule.beta2 * state.square[i] + (1.0 - rule.beta2) * (g * g), rule.largest)
        state.square[i] = v
        if rule.centered:
            state.other[i] += (1.0 - rule.beta2) * (g - state.other[i])
            v -= state.other[i] * state.other[i]
        moved = g / (math.sqrt(v) + rule.eps)
        if momentum > 0.0:
            moved = momentum * state.mean[i] + moved
            state.mean[i] = moved
        state.candidate[i] = state.weights[i] - lr * moved


@compiled
def _adagrad(rule: Rule, state: State, lr: float) -> None:
    step = lr / (1.0 + (state.counts[0] - 1.0) * rule.lr_decay)
    for i in range(len(state.weights)):
        g = state.direction[i]
        state.square[i] = _bounded(state.square[i] + g * g, rule.largest)
        root = math.sqrt(state.square[i]) + rule.eps
        state.candidate[i] = state.weights[i] - step * (g / root)


@compiled
def _adadelta(rule: Rule, state: State, lr: float) -> None:
    rho = rule.beta2
    for i in range(len(state.weights)):
        g = state.direction[i]
        state.square[i] = _bounded(rho * state.square[i] + (1.0 - rho) * (g * g), rule.largest)
        delta = math.sqrt(state.mean[i] + rule.eps) / math.sqrt(state.square[i] + rule.eps) * g
        state.mean[i] = _bounded(rho * state.mean[i] + (1.0 - rho) * (delta * delta), rule.largest)
        state.candidate[i] = state.weights[i] - lr * delta


@compiled
def _asgd(rule: Rule, state: State, lr: float) -> None:
    eta, mu, number = state.counts[2], state.counts[3], state.counts[0]
    for i in range(len(state.weights)):
        moved = (1.0 - rule.lambd * eta) * state.weights[i] - eta * state.direction[i]
        state.candidate[i] = moved
        state.mean[i] = moved if mu == 1.0 else state.mean[i] + (moved - state.mean[i]) * mu
    # torch keeps these two in float32, whatever the parameters are.
    state.counts[2] = np.float64(np.float32(lr / (1.0 + rule.lambd * lr * number) ** rule.alpha))
    state.counts[3] = np.float64(np.float32(1.0 / max(1.0, number - rule.t0)))


@compiled
def _rprop(rule: Rule, state: State) -> None:
    for i in range(len(state.weights)):
        g = state.direction[i]
        turned = g * state.mean[i]
        step = state.square[i]
        if turned > 0.0:
            step *= rule.etaplus
        elif turned < 0.0:
            step *= rule.etaminus
            g = 0.0
        step = min(max(step, rule.least_step), rule.most_step)
        state.square[i], state.mean[i] = step, g
        state.candidate[i] = state.weights[i] - np.sign(g) * step
