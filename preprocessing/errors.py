"""The exceptions raised when data a person supplied, or what was made of it, cannot be used."""


class DataError(ValueError):
    """Data a person supplied is missing, malformed or unusable.

    The message is one line: which file, line or option; what was expected; what was found; what to do about it. The
    command line prints that line without a traceback.
    """


class RefusedError(DataError):
    """A corpus or a model was judged, and found beyond the limits: what was found out about it is worth a look."""
