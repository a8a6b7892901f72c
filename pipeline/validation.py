"""Validation during training: both perplexities, and the BLEU of greedy translations where it selects."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.seq2seq import Seq2Seq
from pipeline.config import Config
from pipeline.evaluate import score
from pipeline.translate import translate_texts
from serving.translator import Translator

TRANSLATED_TOGETHER = 128
"""Sentences that are searched together."""


class Validation:
    """Figures of the validation split for any weights of a model.

    Args:
        config: the sections `training` (its selection) and `target`.
        model: the model; its weights are as they were after each call.
        dataset: batches of the validation split.
        greedy: a translator of the model that searches greedily.
        pairs: source texts and references of the validation split.
        samples: how many of the pairs are translated in any case, for people to look at.
    """

    def __init__(
        self,
        config: Config,
        model: Seq2Seq,
        dataset: tf.data.Dataset,
        greedy: Translator,
        pairs: Sequence[tuple[str, str]],
        samples: int,
    ) -> None:
        self.config, self.model, self.dataset, self.greedy, self.pairs = config, model, dataset, greedy, pairs
        self.samples = pairs[:samples]
        self.translations: Sequence[str] = ()
        self.step = tf.function(model.test_step, input_signature=[dataset.element_spec], autograph=False)

    def of(self, weights: Sequence[np.ndarray]) -> dict[str, float]:
        """`perplexity` and `free_running_perplexity`, and `bleu` if it is the selection."""
        before = self.model.get_weights()
        self.model.set_weights(weights)
        try:
            for metric in self.model.metrics:
                metric.reset_state()
            for batch in self.dataset:
                self.step(batch)
            figures = {metric.name: float(metric.result()) for metric in self.model.metrics}
            selects = self.config.training.selection == "bleu"
            translations = self._translate(self.pairs if selects else self.samples)
            self.translations = translations[: len(self.samples)]
            if selects:
                references = [reference for _, reference in self.pairs]
                figures["bleu"] = score(translations, references, self.config, self.greedy.target)[0]["bleu"]
            return figures
        finally:
            self.model.set_weights(before)

    def table(self) -> str:
        """The samples with the translations of the weights that were validated last, as Markdown."""
        rows = ["| source | translation | reference |", "|---|---|---|"]
        for (source, reference), translation in zip(self.samples, self.translations, strict=True):
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (source, translation, reference)) + " |")
        return "\n".join(rows)

    def _translate(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        return translate_texts(self.greedy.translate, [source for source, _ in pairs], TRANSLATED_TOGETHER)
