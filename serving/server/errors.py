"""What a request can go wrong with: gRPC's status codes, and HTTP's for them."""

from http import HTTPStatus

import grpc
import tensorflow as tf

HTTP_STATUS = {
    grpc.StatusCode.OK: HTTPStatus.OK,
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.ABORTED: HTTPStatus.CONFLICT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: HTTPStatus.INTERNAL_SERVER_ERROR,
    grpc.StatusCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    grpc.StatusCode.DATA_LOSS: HTTPStatus.INTERNAL_SERVER_ERROR,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
"""TF Serving's table (`http_server.cc`)."""

LONGEST_MESSAGE = 1024
"""Characters of a message that a client is told; TF Serving cuts them there, too."""

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class RequestError(Exception):
    """A request that cannot be answered.

    Args:
        code: why.
        message: in words, for the client.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        cut = message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "...TRUNCATED"
        super().__init__(cut)
        self.code, self.message = code, cut


def invalid(message: str) -> RequestError:
    """The most frequent one: `INVALID_ARGUMENT`."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def of_tensorflow(error: tf.errors.OpError) -> RequestError:
    """An error of a graph's execution, in the words that TF Serving would use."""
    message = str(error.message).removeprefix("Graph execution error:").strip()
    return RequestError(_BY_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN), message)
