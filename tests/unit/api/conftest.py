"""The app without a service behind it: enough for all that is refused before Redis is asked."""

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from shared.settings import Settings


@pytest.fixture
def client() -> FlaskClient:
    return create_app(Settings(max_body_bytes=10_000)).test_client()
