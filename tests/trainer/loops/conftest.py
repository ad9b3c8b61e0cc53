"""Windows short enough to train on in moments, which batches of several widths have all the same."""

import pytest

from trainer import bucketing


@pytest.fixture(scope="package", autouse=True)
def narrow():
    """Widths are multiples of 4 rather than 8."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucketing, "_MULTIPLE", 4)
        yield
