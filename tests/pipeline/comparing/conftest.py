"""What tests of comparisons share."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def little_to_collect():
    """Each model that is asked is collected at once, and what other tests have left need not be gone through then."""
    gc.collect()
    gc.freeze()
