"""The section `[validation]`: what the corpus may look like before anything is trained on it."""

from pydantic import Field

from pipeline.config_section import Section, Share


class ValidationConfig(Section):
    """Limits of the ExampleValidator, for each split; beyond one of them the run ends before training.

    A maximum of 1 switches its check off, a minimum of 0 likewise. Unless its limit is 0, a share is no anomaly
    with fewer than 10 cases. What is counted, `preprocessing/statistics.py` tells.
    """

    min_train_pairs: int = Field(default=1, ge=0)
    """Fewest pairs of the training split."""
    min_validation_pairs: int = Field(default=1, ge=0)
    """Fewest pairs of the validation split."""
    min_test_pairs: int = Field(default=1, ge=0)
    """Fewest pairs of the test split."""
    max_source_unknown_rate: Share = 0.2
    """Validation and test: largest share of source tokens that the vocabulary does not have."""
    max_target_unknown_rate: Share = 0.2
    """Validation and test: largest share of target tokens that the vocabulary does not have."""
    max_untranslated_share: Share = 0.1
    """Largest share of pairs whose target is the source, or nearly (90 % of the characters), but for case."""
    max_length_ratio_share: Share = 0.05
    """Largest share of pairs whose length ratio is far from that of the others (Tukey's outer fences): where files are
    shifted or lines merged."""
    max_numbers_differ_share: Share = 0.3
    """Largest share, among pairs with digits on both sides, of those whose numbers differ: the surest sign of lines
    that do not belong together, unless numbers are what is translated."""
    max_script_mismatch_share: Share = 0.05
    """Largest share of sources, and of targets, most of whose letters are not of the side's usual script."""
    min_length_correlation: Share = 0.2
    """Training split of 400 pairs or more: least correlation of the lengths of source and target, which is near 0 where
    the lines of two files are shifted against each other. A side of constant length is not checked."""
    max_duplicate_share: Share = 0.5
    """Largest share of pairs that repeat another pair of their split."""
    compare_with: str | None = None
    """An earlier run to measure the drift from: its root, of which the newest statistics count, or the path of a
    `statistics.json`; relative paths start from the folder of the configuration file. Default: none."""
    max_drift: Share = 0.2
    """Largest distance from the statistics of that run, 0 to 1: of the lengths in characters (Jensen-Shannon), of the
    shares of scripts (the largest difference) and of the unknown rates (difference); see `preprocessing/drift.py`."""
