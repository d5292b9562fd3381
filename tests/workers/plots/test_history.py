"""The loss and the weights over the steps."""

import numpy as np
import pytest

from service.context import Context
from tests.workers.plots.given import (
    ADAM,
    FROM_AFAR,
    LINE,
    MLP,
    MOONS,
    NEAR_THE_LINE,
    RECORDED,
    SGD,
    drawn,
    ended,
    legend,
    lines,
)
from workers.plots.history import draw_loss, draw_weights


def test_a_falling_loss_is_logarithmic_and_whole(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, steps=50, **FROM_AFAR, **SGD)

    axes = drawn(draw_loss, subject)

    (line,) = lines(axes)
    assert np.array_equal(line, np.column_stack([range(50), subject.history["loss"]]))
    assert axes.get_yscale() == "log"
    assert axes.get_title() == "Loss (completed)"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "mse loss")


def test_a_loss_of_zero_is_drawn_on_a_linear_axis(context: Context) -> None:
    there = {"init": {"weights": {"weight": [[2]], "bias": [3]}}, "dtype": "float64"}

    axes = drawn(draw_loss, ended(context, LINE, **there))

    assert axes.get_yscale() == "linear"


def test_a_validation_loss_stands_where_its_epoch_ends(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, steps=None, epochs=4, batch_size=6,
                    validation={"fraction": 0.2}, record={"every": 2})  # fmt: skip

    axes = drawn(draw_loss, subject)

    batches, train, validation = lines(axes)
    assert legend(axes) == ["a batch's loss", "training loss", "validation loss"]
    assert np.array_equal(batches[:, 0], [0, 2, 4, 6, 8, 10])
    # 16 rows are left to fit, 3 batches of them.
    assert np.array_equal(validation[:, 0], [3, 6, 9, 12])
    assert np.array_equal(validation[:, 1], subject.history["epochs.validation_loss"])
    assert np.array_equal(train[:, 1], subject.history["epochs.train_loss"])


def test_epochs_of_stratified_rows_end_where_they_did(context: Context) -> None:
    subject = ended(context, MOONS, model={"kind": "logistic"}, steps=None, epochs=3, batch_size=1,
                    validation={"fraction": 0.01, "stratify": True})  # fmt: skip

    axes = drawn(draw_loss, subject)

    assert np.array_equal(lines(axes)[1][:, 0], [58, 116, 174])


def test_epochs_that_another_fit_began_end_where_they_did(context: Context) -> None:
    first = ended(context, LINE, steps=5, batch_size=5, **ADAM)
    init = {"fit": first.fitted.row["id"], "optimizer_state": True}

    axes = drawn(draw_loss, ended(context, LINE, steps=8, batch_size=5, init=init, **ADAM))

    assert np.array_equal(lines(axes)[1][:, 0], [3, 7, 8])


@pytest.mark.parametrize("slope", [1e155, 1e152])
def test_a_fit_that_diverged_at_once_still_has_its_plot(context: Context, slope: float) -> None:
    init = {"weights": {"weight": [[slope]], "bias": [0]}}
    subject = ended(context, LINE, init=init, dtype="float64",
                    optimizer={"kind": "sgd", "lr": 1e300})  # fmt: skip

    axes = drawn(draw_loss, subject)

    assert axes.get_title() == "Loss (diverged)"
    assert len(lines(axes)[0][:, 0]) == (slope < 1e153)


def test_losses_as_large_as_numbers_are_seen_whole(context: Context) -> None:
    subject = ended(context, LINE, steps=2000, dtype="float64", strategy="reference",
                    optimizer={"kind": "sgd", "lr": 3})  # fmt: skip

    axes = drawn(draw_loss, subject)

    loss = subject.history["loss"]
    low, high = axes.get_ylim()
    assert loss.max() > 1e300
    assert low < loss.min()
    assert 1e300 < high < np.inf


def test_each_weight_is_a_line_to_where_the_fit_ended(context: Context) -> None:
    subject = ended(context, LINE, steps=9, **FROM_AFAR, **SGD, **RECORDED)

    axes = drawn(draw_weights, subject)

    slope, intercept = lines(axes)
    assert legend(axes) == ["x", "intercept"]
    assert np.array_equal(slope[:, 0], range(10))
    assert (slope[0, 1], intercept[0, 1]) == (-3, -2)
    assert slope[-1, 1] == subject.fitted.weights["weight"][0, 0]
    assert intercept[-1, 1] == subject.fitted.weights["bias"][0]


def test_standardized_weights_say_so(context: Context) -> None:
    subject = ended(context, LINE, standardize=True, **RECORDED)

    assert drawn(draw_weights, subject).get_ylabel() == "weight (features standardized)"


def test_of_many_weights_those_are_drawn_that_moved_most(context: Context) -> None:
    model = {"kind": "mlp", "hidden": [6, 6], "batch_norm": True}
    subject = ended(context, MOONS, model=model, loss={"kind": "bce"}, steps=6, **ADAM, **RECORDED)

    axes = drawn(draw_weights, subject)

    arrays = [w for n, w in subject.recorded.weights.items() if "running" not in n]
    spans = np.sort(np.concatenate([np.ptp(w.reshape(7, -1), axis=0) for w in arrays]))
    assert axes.get_title() == f"The 50 of {len(spans)} weights that moved most"
    drawn_spans = np.sort([np.ptp(line[:, 1]) for line in lines(axes)])
    np.testing.assert_allclose(drawn_spans, spans[-50:], rtol=1e-6)
    assert set(legend(axes)) <= set(subject.fitted.weights)
    assert not any("running" in name for name in legend(axes))


def test_a_networks_few_weights_have_their_places(context: Context) -> None:
    model = {"kind": "mlp", "hidden": [2]}

    axes = drawn(draw_weights, ended(context, LINE, model=model, **ADAM, **RECORDED))

    assert legend(axes)[:3] == [
        "layers.0.weight[0, 0]",
        "layers.0.weight[1, 0]",
        "layers.0.bias[0]",
    ]


def test_weights_that_were_taken_back_end_no_line(context: Context) -> None:
    subject = ended(
        context, NEAR_THE_LINE, steps=None, epochs=50, validation={"fraction": 0.3},
        early_stopping={"patience": 2}, **MLP, **RECORDED,
        optimizer={"kind": "sgd", "lr": 0.9, "momentum": 0.9},
    )  # fmt: skip

    axes = drawn(draw_weights, subject)

    assert subject.stop_reason == "early_stopped"
    assert np.array_equal(lines(axes)[0][:, 0], range(subject.n_steps))
