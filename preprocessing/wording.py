"""Words of messages that depend on a number."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 pair`, `12,345 pairs`; `many` is the word's plural if that is not the word with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
