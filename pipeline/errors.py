"""Mistakes in the use of the command or its configuration."""


class UsageError(ValueError):
    """A wrong command line or configuration.

    The message is one line: where (file and key, or option), what was expected, what was found, the remedy. The command
    prints it without a traceback and exits with code 2.
    """
