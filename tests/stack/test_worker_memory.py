"""What a worker's processes may keep of memory, where that is next to nothing."""

from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from service.database import Database
from service.database.schema import fits
from service.settings import Settings
from tests.stack.conftest import serving
from tests.stack.given import WAIT, url

N_FITS = 3
FIT: dict[str, Any] = {
    "dataset": {"columns": {"x": [1.0, 2.0, 3.0], "y": [2.0, 3.0, 5.0]}},
    "target": "y",
    "steps": 20,
}


def test_a_process_past_its_bound_is_replaced_and_every_fit_ends(tmp_path: Path) -> None:
    def fitted(client: httpx.Client, seed: int) -> Any:
        fit = client.post("/v1/fits", json=FIT | {"seed": seed}, headers=WAIT).json()
        while fit["finished_at"] is None:
            fit = client.get(url(fit), headers=WAIT).json()
        return fit

    with (
        serving(tmp_path, "--workers", "1", THALWEG_MAX_WORKER_BYTES=str(2**20)) as (base_url, _),
        httpx.Client(base_url=base_url, timeout=120) as client,
    ):
        ended = [fitted(client, seed) for seed in range(N_FITS)]

    assert [(fit["status"], fit["attempt"]) for fit in ended] == [("succeeded", 1)] * N_FITS
    database = Database(Settings(data_dir=tmp_path).database_address)
    with database.read() as connection:
        workers = set(connection.execute(select(fits.c.worker)).scalars())
    database.close()
    assert len(workers) == N_FITS
