"""A learning-rate range test's specification, as a client sends it."""

from typing import Annotated, Literal

from pydantic import Field

from service.schemas.checks import Checks
from service.schemas.common import Positive
from service.schemas.fits import FitFields
from service.schemas.webhooks import LrRangeTestWebhook


class LrRangeRequest(FitFields):
    """A fit's body, and the rates to try with it, one an update.

    Of the fit's own fields `optimizer.lr`, `epochs`, `steps` and what only a longer descent has
    (`scheduler`, `tolerance`, `early_stopping`, `record`, `checks`, another dataset to validate by)
    play no part. `smooth_f` is the share of the newest loss in a smoothed one, 0 to smooth nothing;
    the test ends where a smoothed loss is more than `diverge_th` times the least one.
    """

    start_lr: Positive = 1e-7
    end_lr: Positive = 10.0
    num_iter: Annotated[int, Field(ge=2, lt=2**63)] = 100
    step_mode: Literal["exp", "linear"] = "exp"
    smooth_f: Annotated[float, Field(ge=0, lt=1)] = 0.05
    diverge_th: Annotated[float, Field(gt=1)] = 5.0
    checks: Checks = []
    webhook: LrRangeTestWebhook | None = None
