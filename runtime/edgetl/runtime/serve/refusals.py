"""Why a request gets no answer, each with its HTTP status; what is not among these is our own fault, and a 500."""

RETRY_AFTER_S = 1
"""What a client is told that meets a full queue; a second is many batches."""


GONE = 499
"""nginx's status for a client that went away or whose deadline passed; nobody is there to read it but the metrics."""


class Refusal(Exception):
    """A request that is refused: `status` for HTTP, `message` for a person."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Malformed(Refusal):
    """The request is not what the protocol says, or does not fit the model."""


class Unauthorized(Refusal):
    status = 401


class NotFound(Refusal):
    """A model or a variant that is not served here."""

    status = 404


class TooLarge(Refusal):
    status = 413


class WrongType(Refusal):
    status = 415


class Unprocessable(Refusal):
    """A body that was understood and is no image."""

    status = 422


class Busy(Refusal):
    """Full, too late, or a variant that cannot be opened: later, or elsewhere, it may work."""

    status = 503
