"""What careless, broken and ill-meaning clients send: each is refused, and nothing else happens."""

import gzip
import time
from contextlib import ExitStack
from typing import Any

import orjson

from tests.benchmarks.load.client import JSON, Client
from tests.benchmarks.load.good import WAIT, columns, spec
from tests.benchmarks.load.operations import Mixture
from tests.service.tables.given import CSV, FORMS, NDJSON

# What the service under load is set to.
MOST_REQUEST_BYTES = 1_000_000
MOST_JSON_BYTES = 200_000
MOST_QUEUED_FITS = 200

_HALF_SENT = 8
_PATIENCE_SECONDS = 0.5
_UNKNOWN = "01JDZZZZZZZZZZZZZZZZZZZZZZ"
_NO_JSON = (b"", b"{", b"not json", b'{"a": NaN}', b"\xff\xfe", b"[1, 2", b"{" * 10_000, b"nul")
_WRONG_SPECS: tuple[dict[str, Any], ...] = (
    {"learning_rate": 0.1},
    {"optimizer": {"kind": "sgd", "lr": "0.1"}},
    {"optimizer": {"kind": "sgd", "lr": True}},
    {"optimizer": {"kind": "gradient descent"}},
    {"optimizer": {"kind": "sgd", "momentun": 0.9}},
    {"epochs": 5},
    {"steps": None},
    {"steps": -1},
    {"steps": 10**18},
    {"target": "z"},
    {"features": ["y"]},
    {"features": []},
    {"model": {"kind": "mlp", "hidden": [-1]}},
    {"model": {"kind": "mlp", "hidden": [10**6, 10**6]}},
    {"model": {"kind": "polynomial", "degree": 10**9}},
    {"loss": {"kind": "cross_entropy"}},
    {"init": {"weights": {"weight": [[1.0, 2.0]], "bias": [0.0]}}},
    {"init": {"weights": {"weight": "none"}}},
    {"validation": {"fraction": 1.5}},
    {"batch_size": 0},
    {"dtype": "float16"},
    {"device": "cuda"},
    {"webhook": {"url": "ftp://example.com"}},
    {"checks": [{"target": "weights.none", "expected": 1.0}]},
    {"checks": [{"target": "final_loss", "expected": [[1.0], [1.0, 2.0]]}]},
    {"metadata": {"key": "x" * 10_000}},
    {"dataset": {"columns": {"x": [1.0], "y": [1.0, 2.0]}}},
    {"dataset": {"columns": {"x": [1.0, None], "y": [1.0, 2.0]}}},
    {"dataset": {"rows": [{"x": 1.0}, {"y": 1.0}]}},
    {"dataset": {"generator": {"kind": "linear", "n": 10**12}}},
    {"dataset": 7},
)


def send_no_json(client: Client) -> None:
    """A body that is no JSON at all."""
    path = client.dice.choice(["/v1/fits", "/v1/datasets", "/v1/gradients", "/v1/fits:validate"])
    client.call("no JSON", f"POST {path}", client.dice.choice(_NO_JSON), expect=(400,))


def send_wrong_spec(client: Client) -> None:
    """A field too many, of a wrong type, or out of its range."""
    path = client.dice.choice(["/v1/fits", "/v1/fits:validate"])
    wrong = spec(client) | client.dice.choice(_WRONG_SPECS)
    client.call("wrong spec", f"POST {path}", wrong, WAIT, expect=(422,))


def send_wrong_batch(client: Client) -> None:
    """A batch with one member that is wrong."""
    fits = [spec(client) for _ in range(20)]
    fits[client.dice.randrange(20)] |= client.dice.choice(_WRONG_SPECS)
    client.call("wrong batch", "POST /v1/batches", {"fits": fits}, expect=(422,))
    lines = b"\n".join(orjson.dumps(one) for one in fits) + b"\n{"
    given = {"Content-Type": NDJSON}
    client.call("wrong lines", "POST /v1/batches", lines, given, expect=(400, 422))


def send_cut_gzip(client: Client) -> None:
    """A compressed body that ends too early, or is none."""
    content = gzip.compress(orjson.dumps({"columns": columns(client)}), 1)
    cut = content[: client.dice.randrange(1, len(content))]
    given = {"Content-Encoding": client.dice.choice(["gzip", "zstd"])}
    client.call("cut gzip", "POST /v1/datasets", cut, given, expect=(400,))


def send_other_encoding(client: Client) -> None:
    """An encoding, or a type, that nobody reads."""
    given = client.dice.choice([{"Content-Encoding": "br"}, {"Content-Type": "image/png"}])
    client.call("other encoding", "POST /v1/datasets", b"{}", given, expect=(415,))


def send_wrong_table(client: Client) -> None:
    """A table that cannot be read, or is not what its type says."""
    content, media_type = FORMS[client.dice.choice(sorted(FORMS))](columns(client))
    if media_type in (CSV, NDJSON):
        content += b"\n1,2,3,4\n"
    else:
        content = content[: client.dice.randrange(len(content) // 2)]
    given = {"Content-Type": media_type}
    client.call("wrong table", "POST /v1/datasets", content, given, expect=(400, 422))


def send_too_much(client: Client) -> None:
    """A body past its bound, plain or one that only unpacking shows to be so."""
    media_type, size = client.dice.choice([(CSV, MOST_REQUEST_BYTES), (JSON, MOST_JSON_BYTES)])
    content, given = b" " * (size + 1), {"Content-Type": media_type}
    if client.dice.random() < 0.5:
        content, given["Content-Encoding"] = gzip.compress(content, 1), "gzip"
    client.call("too much", "POST /v1/datasets", content, given, expect=(413,))


def ask_for_unknown(client: Client) -> None:
    """Things that are not, never were, or cannot be."""
    paths = (
        f"GET /v1/fits/fit_{_UNKNOWN}", "GET /v1/fits/7", f"GET /v1/datasets/ds_{_UNKNOWN}",
        f"DELETE /v1/datasets/ds_{_UNKNOWN}", f"POST /v1/fits/fit_{_UNKNOWN}/cancel",
        f"GET /v1/batches/bat_{_UNKNOWN}/results.csv", f"GET /v1/fits/fit_{_UNKNOWN}/events",
        f"GET /v1/lr-range-tests/lrt_{_UNKNOWN}", "GET /v1/nothing", "GET /..%2f..%2fetc/passwd",
        f"GET /v1/fits/{client.dataset}", "GET /v1/fits/%00", f"GET /v1/fits?ids=fit_{_UNKNOWN}",
    )  # fmt: skip
    client.call("unknown", client.dice.choice(paths), expect=(404,))


def ask_wrongly(client: Client) -> None:
    """Parameters and headers that mean nothing."""
    wrong: tuple[tuple[str, dict[str, str], int], ...] = (
        ("GET /v1/fits?limit=0", {}, 422),
        ("GET /v1/fits?limit=a", {}, 422),
        ("GET /v1/fits?status=done", {}, 422),
        ("GET /v1/fits?lim=1", {}, 422),
        ("GET /v1/fits?limit=1&limit=2", {}, 422),
        ("GET /v1/fits?created_after=yesterday", {}, 422),
        (f"GET /v1/datasets/{client.dataset}/content", {"Accept": "image/png"}, 406),
    )
    request, headers, status = client.dice.choice(wrong)
    client.call("wrong question", request, headers=headers, expect=(status,))


def use_other_methods(client: Client) -> None:
    """Methods that are not for this."""
    paths = ("PUT /v1/fits", "PATCH /v1/datasets", "POST /livez", "DELETE /v1/batches")
    client.call("wrong method", client.dice.choice(paths), expect=(405,))


def diverge(client: Client) -> None:
    """A fit whose steps are far too long: it fails, and the service does not."""
    body = spec(client, optimizer={"kind": "sgd", "lr": 1e6}, steps=200)
    answer = client.call("diverging fit", "POST /v1/fits", body, WAIT, expect=(200, 202))
    if answer is not None and answer.status == 200:
        fit = answer.json()
        if (fit["status"], fit["stop_reason"]) != ("failed", "diverged"):
            client.tally.fault(f"a diverging fit ended as {fit['status']}: {fit['stop_reason']}")


def reuse_key(client: Client) -> None:
    """A key of an earlier request on another one."""
    key = {"Idempotency-Key": f"load-{client.dice.getrandbits(64):x}"}
    first = client.call("fit, under a key", "POST /v1/fits", spec(client), key, expect=(202,))
    if first is not None and first.status == 202:
        other = spec(client, tags=["another"])
        client.call("key reused", "POST /v1/fits", other, key, expect=(422,))
    given = {"Idempotency-Key": "x" * 300}
    client.call("wrong key", "POST /v1/fits", spec(client), given, expect=(422,))


def flood(client: Client) -> None:
    """More fits than may wait: some calls are put off, whole."""
    grid = {"optimizer.lr": [0.001 * (i + 1) for i in range(15)], "seed": [*range(10)]}
    for _ in range(2):
        body = {"base": spec(client), "grid": grid}
        client.call("flood", "POST /v1/batches", body, expect=(202,))


def talk_nonsense(client: Client) -> None:
    """Bytes that are no HTTP."""
    nonsense = (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n", b"GET /livez HTTP/1.1\r\nno header\r\n\r\n",
        b"POST /v1/fits HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/fits HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    )  # fmt: skip
    expect = (400, 414, 415, 505)
    client.call_raw("no HTTP", client.dice.choice(nonsense), expect=expect)


def send_halves(client: Client) -> None:
    """Requests that stop in the middle, are waited for, and hang up."""
    halves = (
        b"POST /v1/fi",
        b"POST /v1/fits HTTP/1.1\r\nHost: a\r\nContent-",
        b"POST /v1/fits HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b'Content-Length: 900\r\n\r\n{"dataset"',
        b"POST /v1/datasets HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nx,y\n\r\n",
    )
    with ExitStack() as stack:
        for _ in range(_HALF_SENT):
            connection = client.connect()
            stack.callback(connection.close)
            connection.sendall(client.dice.choice(halves))
        time.sleep(_PATIENCE_SECONDS)


# How often each comes among a hundred or so.
BAD: Mixture = {
    send_no_json: 5,
    send_wrong_spec: 10,
    send_wrong_batch: 1,
    send_cut_gzip: 3,
    send_other_encoding: 1,
    send_wrong_table: 4,
    send_too_much: 2,
    ask_for_unknown: 6,
    ask_wrongly: 3,
    use_other_methods: 2,
    diverge: 3,
    reuse_key: 2,
    flood: 1,
    talk_nonsense: 2,
    send_halves: 1,
}
