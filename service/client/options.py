"""Options that several commands have in common, and how a command takes them."""

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Annotated, Any

import typer

from service.client import specs
from service.client.http import DEFAULT_URL, Service
from service.client.retrying import Patience

MODEL, TRAINING, SERVICE = "Model", "Training", "Service and output"
_PANELS = (None, MODEL, TRAINING, SERVICE)
_RETRY_SECONDS = 30.0

AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the answer as JSON on stdout, and nothing else.",
        rich_help_panel=SERVICE,
    ),
]
Detached = Annotated[
    bool,
    typer.Option(
        "--detach", help="Queue it, print its id, and do not wait.", rich_help_panel=SERVICE
    ),
]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A table's file (.csv, .parquet, .npz, …, also .csv.gz), or a dataset's id.",
        show_default=False,
    ),
]
JobId = Annotated[
    str, typer.Argument(metavar="ID", help="fit_…, bat_… or lrt_….", show_default=False)
]
AnyId = Annotated[
    str, typer.Argument(metavar="ID", help="fit_…, bat_…, lrt_… or ds_….", show_default=False)
]


def taking(**groups: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the parameters of each group beside its own.

    Its argument of a group's name is a function without arguments: the group's, called with what
    was said. typer reads a command's options from its signature: this one has those of all.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = dict(inspect.signature(command).parameters)
        shared = {name: inspect.signature(group).parameters for name, group in groups.items()}

        @wraps(command)
        def run(**values: Any) -> None:
            for name, theirs in shared.items():
                said = {each: values.pop(each) for each in theirs}
                values[name] = partial(groups[name], **said)
            command(**values)

        every = [each for name, each in own.items() if name not in groups]
        every += [each for theirs in shared.values() for each in theirs.values()]
        # The help has panels in the order in which they come up first.
        every.sort(key=_panel)
        keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in every]
        run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in keywords}
        return run

    return decorate


def service(
    url: Annotated[
        str,
        typer.Option(
            "--url",
            envvar="THALWEG_URL",
            metavar="URL",
            help="The service's address.",
            rich_help_panel=SERVICE,
        ),
    ] = DEFAULT_URL,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            envvar="THALWEG_KEY",
            metavar="KEY",
            help="The API key, where the service asks for one. Prefer the variable: options are "
            "seen by all users of a machine.",
            show_default=False,
            rich_help_panel=SERVICE,
        ),
    ] = None,
    retry_seconds: Annotated[
        float,
        typer.Option(
            envvar="THALWEG_RETRY_SECONDS",
            metavar="SECONDS",
            min=0,
            max=86_400,
            help="How long to go on asking, in pauses, where the service does not answer, fails, "
            "or is busy. 0: do not ask again.",
            rich_help_panel=SERVICE,
        ),
    ] = _RETRY_SECONDS,
) -> Service:
    """The service that is meant; raises WrongUsage."""
    return Service(url, key, partial(Patience, retry_seconds, _tell))


def spec(  # noqa: PLR0913, PLR0917 (each is an option)
    target: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help='The column to predict, or several between commas; as JSON, ["a,b"], where a name '
            "has a comma in it.",
            show_default=False,
        ),
    ],
    features: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="Columns to predict from, between commas.",
            show_default="every one but the target",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="linear, polynomial, logistic, softmax, mlp.",
            show_default="linear, or whose arguments are given",
            rich_help_panel=MODEL,
        ),
    ] = None,
    degree: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="A polynomial's degree.", show_default="2", rich_help_panel=MODEL
        ),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHS",
            help="An mlp's hidden layers: 16,16.",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="An mlp's activation: relu, tanh, sigmoid, gelu, silu, leaky_relu, identity.",
            show_default="relu",
            rich_help_panel=MODEL,
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="mse, mae, huber, smooth_l1, quantile, poisson, bce, cross_entropy, hinge.",
            show_default="the model's own",
            rich_help_panel=MODEL,
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="sgd, adam, adamw, rmsprop, lbfgs, and the others of torch.optim.",
            show_default="sgd",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="The learning rate.",
            show_default="the optimizer's own, as in torch",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Passes over the rows.",
            show_default="100",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Updates of the weights, instead of epochs.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="ROWS",
            min=1,
            help="Rows an update.",
            show_default="all: plain gradient descent",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    standardize: Annotated[
        bool,
        typer.Option(
            "--standardize",
            help="Train on features of mean 0 and variance 1.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    validation: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="The share of the rows held out, between 0 and 1.",
            show_default="none",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="float32 or float64.",
            show_default="float32",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Any other member of the spec, as often as you like: optimizer.momentum=0.9, "
            'scheduler={"kind":"cosine","T_max":50}. It wins over the options.',
            show_default=False,
        ),
    ] = None,
) -> dict[str, Any]:
    """The body of a fit, as far as it is said, but for its dataset; raises WrongUsage."""
    targets = specs.listed("--target", target) or []
    given = {
        "target": targets[0] if len(targets) == 1 else targets,
        "features": specs.listed("--features", features),
        "model.kind": model,
        "model.degree": degree,
        "model.hidden": specs.numbers("--hidden", hidden),
        "model.activation": activation,
        "loss.kind": loss,
        "optimizer.kind": optimizer,
        "optimizer.lr": specs.finite("--lr", lr),
        "epochs": epochs,
        "steps": steps,
        "batch_size": batch_size,
        "standardize": standardize or None,
        "validation.fraction": specs.finite("--validation", validation),
        "dtype": dtype,
    }
    return specs.merged(given, set_ or [])


def _panel(parameter: inspect.Parameter) -> int:
    """Where the parameter's panel stands among the others."""
    (option,) = parameter.annotation.__metadata__
    return _PANELS.index(option.rich_help_panel)


def _tell(line: str) -> None:
    typer.echo(f"thalweg: {line}", err=True)
