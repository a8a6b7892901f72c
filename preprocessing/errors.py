"""The one exception raised when data a person supplied cannot be used."""


class DataError(ValueError):
    """Data a person supplied is missing, malformed or unusable.

    The message is one line: which file, line or option; what was expected; what was found; what to do about it. The
    command line prints that line without a traceback.
    """
