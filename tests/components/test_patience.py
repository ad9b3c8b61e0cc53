import pytest
from google.api_core import exceptions

from components import patience


@pytest.mark.parametrize(
    "error, wanted",
    [
        (exceptions.ServiceUnavailable("down"), True),
        (exceptions.TooManyRequests("quota"), True),
        (exceptions.DeadlineExceeded("slow"), True),
        (exceptions.BadGateway("proxy"), True),
        (exceptions.NotFound("no job"), False),
        (exceptions.PermissionDenied("not yours"), False),
        (exceptions.Cancelled("by its user"), False),
        (ValueError("ours"), False),
    ],
)
def test_what_is_asked_again(error, wanted):
    assert patience.passes(error) is wanted


def test_each_request_has_its_own_time():
    tried = []

    def ask(timeout):
        tried.append(timeout)
        if len(tried) < 3:
            raise exceptions.DeadlineExceeded("slow")
        return "answer"

    how = patience.patiently(outage=60, each=7)
    assert how["retry"].with_delay(initial=0.001)(how["timeout"](ask))() == "answer"
    assert tried == [7, 7, 7]
