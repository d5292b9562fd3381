"""Pages of fits, filters, and fits by their ids."""

from flask.testing import FlaskClient

from service.schemas.answers.fits import FitList
from tests.service.api.resources import create_fit


def test_pages_link_to_the_next_one(http: FlaskClient) -> None:
    ids = [create_fit(http, tags=["page"])["id"] for _ in range(5)]
    seen: list[str] = []
    url: str | None = "/v1/fits?limit=2&tag=page"
    while url:
        answer = http.get(url)
        page = answer.get_json()
        FitList.model_validate(page)
        seen += [fit["id"] for fit in page["data"]]
        link = answer.headers.get("Link", "")
        assert page["has_more"] == bool(link) == (page["next_cursor"] is not None)
        assert not link or link.endswith('>; rel="next"')
        url = link[1:].partition(">")[0] or None

    assert sorted(seen) == sorted(ids)
    assert seen == sorted(seen, reverse=True)


def test_many_fits_are_looked_up_in_the_order_asked_for(http: FlaskClient) -> None:
    ids = [create_fit(http)["id"] for _ in range(3)]
    asked = [ids[1], ids[0], ids[2]]

    found = http.get("/v1/fits", query_string={"ids": ",".join(asked)}).get_json()

    assert [fit["id"] for fit in found["data"]] == asked
    assert http.get("/v1/fits", query_string={"ids": ",".join(["x"] * 1001)}).status_code == 422


def test_fits_are_filtered(http: FlaskClient) -> None:
    fit = create_fit(http, metadata={'odd "key"': "v"})
    create_fit(http)

    query = {
        'metadata[odd "key"]': "v",
        "status": "queued",
        "created_after": "2020-01-01T00:00:00Z",
    }
    found = http.get("/v1/fits", query_string=query).get_json()

    assert [one["id"] for one in found["data"]] == [fit["id"]]
