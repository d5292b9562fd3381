"""The script's loop: batches, updates, and what happens where an epoch ends."""

from service.reproduction.recipe import Recipe
from service.reproduction.rule import n_steps
from service.reproduction.wording import indented, joined, literal

_AT_REST = "gradient.abs().max().item()"
_LAST_BATCH = "if batch == n_batches - 1:"


def loop(recipe: Recipe) -> list[str]:
    """The updates."""
    made = n_steps(recipe) if recipe.n_steps is None else str(recipe.n_steps)
    ended = "" if recipe.n_steps is None else "  # Here the fit was ended."
    ends = _epoch_end(recipe)
    if ends and recipe.batch_size is not None:
        ends = [_LAST_BATCH, *indented(ends)]
    return [
        *_before(recipe),
        f"for step in range({made}):{ended}",
        *indented([*_batch(recipe), *_update(recipe), *_after(recipe), *ends]),
    ]


def _before(recipe: Recipe) -> list[str]:
    if recipe.monitored is None:
        return []
    if recipe.restores_best:
        return ["best_loss, epochs_waited, best_weights = math.inf, 0, None"]
    return ["best_loss, epochs_waited = math.inf, 0"]


def _rows(recipe: Recipe) -> str:
    """What the objective is asked for in a step."""
    return joined(recipe.arrays, "" if recipe.batch_size is None else "[rows]")


def _batch(recipe: Recipe) -> list[str]:
    """`batch`, its number in the epoch, and `rows`."""
    size = recipe.batch_size
    if size is None:
        return []
    cut = f"{size} * batch : {size} * (batch + 1)"
    sums = ["loss_sum = 0"] if recipe.needs_train_loss else []
    begins = ["if batch == 0:", *indented(sums)] if sums else []
    if not recipe.spec["shuffle"]:
        return ["batch = step % n_batches", *begins, f"rows = slice({cut.replace(' :', ',')})"]
    order = f"order = rows_in_order(len(x), seed={recipe.seed('shuffle')}, epoch=epoch)"
    shuffled = [order]
    if recipe.may_be_one_batch:
        # How many rows are held out of each class is only known in the script.
        shuffled += [f"if {size} >= len(x):  # One batch of all rows is not shuffled.",
                     "    order = torch.arange(len(x))"]  # fmt: skip
    return [
        "epoch, batch = divmod(step, n_batches)",
        "if batch == 0:",
        *indented([*shuffled, *sums]),
        f"rows = order[{cut}]",
    ]


def _update(recipe: Recipe) -> list[str]:
    """The gradient, and the step from it."""
    searches = recipe.spec["optimizer"]["kind"] == "lbfgs"
    tolerance = recipe.spec["tolerance"]
    gradient = _gradient(recipe)
    rest = [] if tolerance is None else [f"if {_AT_REST} < {literal(tolerance)}:", "    break"]
    if not searches:
        return [*gradient, *rest, *_clipping(recipe), "optimizer.step()"]
    if rest:
        return _search_until_at_rest(recipe)
    keep = "loss = " if _uses_loss(recipe) else ""
    return [
        "def closure():  # LBFGS asks for the loss and the gradient several times a step.",
        *indented([*gradient, *_clipping(recipe), "return loss"]),
        f"{keep}optimizer.step(closure)",
    ]


def _search_until_at_rest(recipe: Recipe) -> list[str]:
    """What is looked at before the search is what it begins with, so that it is made once."""
    return [
        "def evaluate():",
        *indented([*_gradient(recipe), f"largest = {_AT_REST}", *_clipping(recipe)]),
        "    return loss, largest",
        "loss, largest = evaluate()",
        f"if largest < {literal(recipe.spec['tolerance'])}:",
        "    break",
        "# LBFGS asks for the loss several times a step, and first for the one just computed.",
        "known = [loss]",
        "optimizer.step(lambda: known.pop() if known else evaluate()[0])",
    ]


def _gradient(recipe: Recipe) -> list[str]:
    seed = recipe.seed("shuffle")
    dropout = f"dropout.manual_seed((2654435761 * {seed} + step) % 2**32)"
    whole = "gradient = torch.cat([p.grad.flatten() for p in model.parameters()])"
    looked_at = recipe.spec["tolerance"] is not None or recipe.spec["clip_grad_norm"] is not None
    return [
        *([dropout] if recipe.dropout else []),
        "optimizer.zero_grad()",
        f"loss = objective({_rows(recipe)})",
        "loss.backward()",
        *([whole] if looked_at else []),
    ]


def _clipping(recipe: Recipe) -> list[str]:
    norm = recipe.spec["clip_grad_norm"]
    if norm is None:
        return []
    # By the norm of the whole gradient, which rounds unlike torch's own norm of norms.
    clip = "nn.utils.clip_grads_with_norm_(model.parameters(), "
    return [f"{clip}{literal(norm)}, gradient.norm())"]


def _looks_at_the_steps_loss(recipe: Recipe) -> bool:
    scheduler = recipe.spec["scheduler"]
    by_loss = scheduler is not None and scheduler["kind"] == "reduce_on_plateau"
    return by_loss and recipe.interval == "step"


def _uses_loss(recipe: Recipe) -> bool:
    return recipe.needs_train_loss or _looks_at_the_steps_loss(recipe)


def _after(recipe: Recipe) -> list[str]:
    """What follows each update."""
    lines = []
    if recipe.interval == "step":
        loss = "loss.item()" if _looks_at_the_steps_loss(recipe) else ""
        lines = [f"scheduler.step({loss})"]
    if recipe.needs_train_loss and recipe.batch_size is not None:
        lines.append(f"loss_sum += loss.item() * len(y[rows]) / {recipe.batch_size}")
    return lines


def _epoch_end(recipe: Recipe) -> list[str]:
    """What follows an epoch's last update."""
    lines = []
    if recipe.needs_train_loss:
        lines.append(f"train_loss = {_train_loss(recipe)}")
    if recipe.needs_validation_loss:
        lines += _validation(recipe)
    if recipe.interval == "epoch":
        loss = ""
        if recipe.looks_at_the_epochs_loss:
            loss = "validation_loss" if recipe.needs_validation_loss else "train_loss"
        lines.append(f"scheduler.step({loss})")
    return [*lines, *_stopping(recipe)]


def _train_loss(recipe: Recipe) -> str:
    """The mean over the batches, a smaller one counted as its share of a whole."""
    if recipe.batch_size is None:
        return "loss.item()"
    if recipe.spec["drop_last"]:
        return "loss_sum / n_batches"
    return f"loss_sum / (len(x) / {recipe.batch_size})"


def _validation(recipe: Recipe) -> list[str]:
    lines = [
        "with torch.no_grad():",
        f"    validation_loss = objective({joined(recipe.arrays, before='held_')}).item()",
    ]
    if not recipe.behaves_otherwise_in_training:
        return lines
    return ["model.eval()", *lines, "model.train()"]


def _stopping(recipe: Recipe) -> list[str]:
    stopping = recipe.spec["early_stopping"]
    if stopping is None:
        return []
    loss = stopping["monitor"]
    margin = f" - {literal(stopping['min_delta'])}" if stopping["min_delta"] else ""
    best = ["    best_weights = {n: w.clone() for n, w in model.state_dict().items()}"]
    return [
        "epochs_waited += 1",
        f"if {loss} < best_loss{margin}:",
        f"    best_loss, epochs_waited = {loss}, 0",
        *(best if recipe.restores_best else []),
        f"if epochs_waited >= {stopping['patience']}:",
        "    break",
    ]


def ending(recipe: Recipe) -> list[str]:
    """The weights, printed."""
    lines = []
    if recipe.restores_best:
        lines = ["if best_weights is not None:", "    model.load_state_dict(best_weights)"]
    state = "{name: w.tolist() for name, w in model.state_dict().items()}"
    if recipe.has_norms:
        # It is torch's own, and no weight.
        state = state.replace("}", ' if "num_batches" not in name}')
    return [*lines, f"weights = {state}", "print(json.dumps(weights))"]
