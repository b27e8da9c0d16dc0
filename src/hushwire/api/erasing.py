"""What the API answers when one thing was asked to be erased: the same words for a thing of any kind."""

from typing import assert_never

from fastapi.responses import Response

from hushwire.api.problems import held, not_found, unavailable
from hushwire.services.erasure import Erased, Held, NoRecording, Outcome, Pending


def answered(outcome: Outcome) -> Response:
    """The proof, byte for byte. Problems: 404; 409 while a legal hold keeps it; 503 while it is entered and not carried out yet."""
    match outcome:
        case Erased(receipt, _):
            return Response(receipt, media_type="application/json")
        case Pending(_, retry_after_s):
            raise unavailable("The erasure is in the ledger and will be carried out; ask again for its receipt.", retry_after_s)
        case Held(hold_id, code):
            raise held(hold_id, code)
        case NoRecording():
            raise not_found()
        case _:
            assert_never(outcome)
