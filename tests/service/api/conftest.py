"""The app over real parts, without a worker."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.api import create_app
from service.context import Context
from service.settings import Settings
from tests.service.api.documented import DocumentedClient


@pytest.fixture
def app(settings: Settings, context: Context) -> Iterator[Flask]:
    """The API on the test's own database, redis and store."""
    made = create_app(settings)
    made.test_client_class = DocumentedClient
    yield made
    made.extensions["thalweg"].close()


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    """A client that speaks to the app without a network."""
    return app.test_client()
