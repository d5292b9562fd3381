"""The two kinds of installation that tests run on."""

import pytest

# SQLite, and objects as files.
EMBEDDED = "embedded"
# PostgreSQL, and objects in a bucket of S3.
PRODUCTION = "production"
INSTALLATIONS = (EMBEDDED, PRODUCTION)

# Marks tests that would run on the embedded one alone.
ON_EACH = pytest.mark.parametrize("installation", INSTALLATIONS, indirect=True)
# Marks tests of what the other one does not have.
EMBEDDED_ALONE = pytest.mark.parametrize("installation", [EMBEDDED], indirect=True)
PRODUCTION_ALONE = pytest.mark.parametrize("installation", [PRODUCTION], indirect=True)
