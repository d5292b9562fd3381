"""What a picture calls a model's fitted numbers."""

import numpy as np

from workers.plots.subject import Subject
from workers.plots.wording import name_of

INTERCEPT = "intercept"


def weight_name(subject: Subject, array: str, place: int) -> str:
    """The name of one number of an array: its coefficient's, or its place in the array."""
    shape = subject.fitted.weights[array].shape
    if array == "bias":
        return _of_output(subject, place, INTERCEPT)
    if array == "weight":
        output, feature = divmod(place, shape[1])
        return _of_output(subject, output, subject.fitted.columns.features.labels[feature])
    inside = ", ".join(str(i) for i in np.unravel_index(place, shape))
    return f"{array}[{inside}]"


def _of_output(subject: Subject, output: int, label: str) -> str:
    """The label, below its target or class where there are several."""
    columns = subject.fitted.columns
    scored = subject.spec["loss"]["kind"] == "cross_entropy"
    outputs = columns.classes if scored and columns.classes else columns.targets
    if len(outputs) == 1:
        return name_of(label)
    return f"{name_of(outputs[output])}: {name_of(label)}"
