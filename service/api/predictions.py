"""`/v1/fits/{id}/predictions` and `/v1/fits/{id}/evaluations`."""

from contextlib import ExitStack

from flask import Blueprint, Response

from service import predictions
from service.api.examples import EVALUATION, PREDICTION, PREDICTIONS_CSV
from service.api.openapi import Content, Operation, operation
from service.api.queries import ReadParameters, parameters
from service.api.requests import context, json_body, owner, preferred
from service.api.responses import json_response, one_of_several
from service.api.uploads import UPLOADS, downloads, model_or_table
from service.media_types import JSON
from service.passing_tables import PassingTable, passing_upload
from service.predictions import PREDICTION_TYPES
from service.schemas.answers.models import Evaluation, Predictions
from service.schemas.rows import EvaluationRequest, PredictionRequest

blueprint = Blueprint("predictions", __name__, url_prefix="/v1/fits/<fit_id>")


@blueprint.post("/predictions")
@operation(
    Operation(
        "createPredictions",
        "predictions",
        "What a fitted model says of new rows, in the form that `Accept` names",
        body=(Content(JSON, PredictionRequest, PREDICTION), *UPLOADS),
        query=ReadParameters,
        answers={200: downloads(PREDICTION_TYPES, Predictions, PREDICTIONS_CSV)},
        problems=(400, 404, 406, 409, 410, 413, 415, 422, 503),
    )
)
def create_predictions(fit_id: str) -> Response:
    """Predict, and keep nothing."""
    asked = parameters(ReadParameters)
    media_type = preferred(*PREDICTION_TYPES)
    model = predictions.find_fitted(context(), fit_id, owner())
    with ExitStack() as stack:
        table = _taken_in(stack, asked)
        found = stack.enter_context(predictions.predicted(context(), model, table))
        answer = one_of_several(found.pieces(media_type), media_type)
        # What is sent is read from files that go with the stack.
        answer.call_on_close(stack.pop_all().close)
    return answer


def _taken_in(stack: ExitStack, asked: ReadParameters) -> PassingTable:
    """The body's table, there until the stack ends."""
    with model_or_table(PredictionRequest, asked) as given:
        if isinstance(given, PredictionRequest):
            rows = predictions.requested_rows(context(), given, owner(), asked.missing)
        else:
            rows = passing_upload(context(), given, owner(), asked.missing)
        return stack.enter_context(rows)


@blueprint.post("/evaluations")
@operation(
    Operation(
        "createEvaluation",
        "predictions",
        "How good a fitted model is on a dataset",
        body=(Content(model=EvaluationRequest, example=EVALUATION),),
        answers={200: (Content(model=Evaluation),)},
        problems=(400, 404, 409, 410, 413, 415, 422, 503),
    )
)
def create_evaluation(fit_id: str) -> Response:
    """Evaluate, and keep nothing."""
    given = json_body(EvaluationRequest)
    return json_response(predictions.evaluate(context(), fit_id, given, owner()))
