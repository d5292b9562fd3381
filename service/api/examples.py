"""Bodies that the OpenAPI document shows."""

DATASET_COLUMNS = {
    "name": "five points",
    "columns": {"x": [-1, -0.5, 0, 0.5, 1], "y": [1.1, 2.2, 2.9, 4.1, 5.0]},
}
NDJSON_UPLOAD = '{"x": -1, "y": 1.1}\n{"x": 0, "y": 2.9}\n{"x": 1, "y": 5.0}\n'
CSV_UPLOAD = "x,y\n-1,1.1\n0,2.9\n1,5.0\n"
FIT = {
    "dataset": {"columns": DATASET_COLUMNS["columns"]},
    "target": "y",
    "model": {"kind": "linear"},
    "loss": {"kind": "mse"},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "steps": 500,
    "init": {"weights": {"weight": [[-3]], "bias": [-2]}},
    "dtype": "float64",
}
LR_RANGE_TEST = {
    "dataset": FIT["dataset"],
    "target": "y",
    "optimizer": {"kind": "adam"},
    "start_lr": 1e-5,
    "end_lr": 1,
}
