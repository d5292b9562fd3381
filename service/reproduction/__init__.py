"""A fit written down again as a page of plain PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from service.errors import NotFound
from service.reproduction import model, objective, rule, table, training
from service.reproduction.recipe import Recipe
from service.reproduction.wording import page

__all__ = ["NotReproducible", "obstacle", "script"]

_DOCSTRING = '''"""Trains a model from the start in plain PyTorch, and prints its weights as JSON.

Usage: python reproduce.py dataset.csv > weights.json
Needs torch (written for 2.13) and numpy. Another table than the one that was fitted is refused.
"""'''
# Up to here one thread is the fastest, and the service takes it.
_MOST_WORK_OF_ONE_THREAD = 2**22


class NotReproducible(NotFound):
    """The fit needs what a script has not: another dataset's rows, or another fit's weights."""

    code = "not_reproducible"
    title = "Not reproducible by a script"


def script(
    spec: Mapping[str, Any],
    columns: Sequence[Mapping[str, Any]],
    digest: str,
    n_rows: int,
    *,
    n_steps: int | None = None,
    cancelled: bool = False,
) -> str:
    """A script of at most 150 lines that takes the dataset's CSV and prints the fit's weights.

    `spec` is a resolved one, `columns` are its dataset's own summaries, `digest` and `n_rows` the
    dataset's. `n_steps` are the updates that were made of a fit that did not get to its end by
    itself: its time was over, it diverged, or it was `cancelled`, whose best weights are not
    restored. Raises NotReproducible where the spec needs another dataset or another fit.
    """
    found = obstacle(spec)
    if found is not None:
        raise NotReproducible(found)
    recipe = Recipe(spec, columns, digest, n_rows, n_steps, cancelled)
    tight = replace(recipe, data_lines=1)
    return page(_DOCSTRING, _sections(recipe), _sections(tight))


def obstacle(spec: Mapping[str, Any]) -> str | None:
    """What of a resolved spec comes from elsewhere, where no script can have it; else None."""
    if "fit" in spec["init"]:
        return (
            "the fit starts from another fit's weights, which a script has not; "
            "ask for the other fit's script, or start from `init.weights`"
        )
    if "dataset" in (spec["validation"] or {}):
        return (
            "the fit is validated by another dataset, and a script reads one CSV; "
            "hold a fraction of the rows out instead"
        )
    return None


def _sections(recipe: Recipe) -> list[list[str]]:
    return [
        [*table.constants(recipe), *_torch_settings(recipe)],
        table.read_table(recipe),
        _order(recipe),
        model.network(recipe),
        objective.objective(recipe),
        table.reading(),
        [*table.features(recipe), *table.targets(recipe)],
        [*table.held_out(recipe), *table.standardized(recipe), *table.tensors(recipe)],
        [*model.construction(recipe), *objective.class_weight(recipe)],
        [
            *rule.batches(recipe),
            *rule.optimizer(recipe),
            *rule.schedule(recipe),
            *training.loop(recipe),
        ],
        training.ending(recipe),
    ]


def _torch_settings(recipe: Recipe) -> list[str]:
    lines = [f"dtype = torch.{recipe.spec['dtype']}"]
    if recipe.step_work < _MOST_WORK_OF_ONE_THREAD:
        lines.append("torch.set_num_threads(1)  # Small steps are the fastest so.")
    return lines


def _order(recipe: Recipe) -> list[str]:
    shuffled = recipe.spec["shuffle"] and recipe.batch_size is not None
    return table.rows_in_order() if shuffled or recipe.spec["validation"] is not None else []
