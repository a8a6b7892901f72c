"""Which ids are reserved in every vocabulary, and how they are spelled."""

PADDING_ID = 0
UNKNOWN_ID = 1
START_ID = 2
END_ID = 3

SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>")
"""The spelling of each reserved id: ``SPECIAL_TOKENS[START_ID] == "<s>"``. They open every vocabulary file."""
