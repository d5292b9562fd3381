"""The numbers by which compiled loops know kinds."""

# By the contract's names.
ACTIVATION_CODES = {
    "identity": 0,
    "relu": 1,
    "leaky_relu": 2,
    "tanh": 3,
    "sigmoid": 4,
    "silu": 5,
    "gelu": 6,
    "softplus": 7,
}
LOSS_CODES = {
    "mse": 0,
    "mae": 1,
    "huber": 2,
    "smooth_l1": 3,
    "quantile": 4,
    "poisson": 5,
    "bce": 6,
    "hinge": 7,
    "cross_entropy": 8,
}
RULE_CODES = {"sgd": 0, "adam": 1, "adamw": 2, "rmsprop": 3, "adagrad": 4}
