"""`/metrics` of the real service: what its processes have counted together."""

import httpx

from tests.stack.given import fit


def test_the_workers_counts_are_there(client: httpx.Client, training: str) -> None:
    # given a fit in closed form, made by a worker of its own process
    for _ in range(3):
        fit(client, training, optimizer={"kind": "sgd", "lr": 0.01})

    text = client.get("/metrics").text

    labels = 'kind="fit",status="succeeded",stop_reason="completed",strategy="spectral"'
    line = f"thalweg_fits_total{{{labels}}}"
    found = [row.split()[-1] for row in text.splitlines() if row.startswith(line)]
    assert float(found[0]) >= 3
    for phase in ("queued", "data", "compute", "record"):
        assert f'thalweg_fit_seconds_count{{phase="{phase}"}}' in text
    # whichever of the API's processes is asked
    answers = [client.get("/metrics", headers={"Connection": "close"}).text for _ in range(8)]
    assert all(line in answer for answer in answers)
