"""Validation during training: both perplexities, and the score of greedy translations that selects, if one does."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.seq2seq import Seq2Seq
from pipeline.attention_images import Alignment, alignments, draw
from pipeline.config import Config
from pipeline.metrics import Item, group_by_source, score
from pipeline.translate import translate_texts
from serving.translator import Translator

ALIGNED = 4
"""Samples whose attention is shown."""

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
        samples: how many of the sources are translated in any case, for people to look at.
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
        self.config, self.model, self.dataset, self.greedy = config, model, dataset, greedy
        self.items = group_by_source(pairs)
        self.samples = self.items[:samples]
        self.translations: Sequence[str] = ()
        self.alignments: Sequence[Alignment] = ()
        self.step = tf.function(model.test_step, input_signature=[dataset.element_spec], autograph=False)

    def of(self, weights: Sequence[np.ndarray]) -> dict[str, float]:
        """`perplexity` and `free_running_perplexity`, and the score that is the selection, if one is."""
        before = self.model.get_weights()
        self.model.set_weights(weights)
        try:
            for metric in self.model.metrics:
                metric.reset_state()
            for batch in self.dataset:
                self.step(batch)
            figures = {metric.name: float(metric.result()) for metric in self.model.metrics}
            selection = self.config.training.selection
            translated = self.samples if selection in figures else self.items
            translations = self._translate(translated)
            self.translations = translations[: len(self.samples)]
            if self.greedy.attention is not None:
                sources = tf.constant([item.source for item in self.samples[:ALIGNED]])
                answer = self.greedy.attention(text=sources)
                self.alignments = alignments({name: values.numpy() for name, values in answer.items()})
            if selection not in figures:
                references = [item.references for item in translated]
                figures[selection] = score([selection], translations, references, self.config.target)[selection].value
            return figures
        finally:
            self.model.set_weights(before)

    def table(self) -> str:
        """The samples with the translations of the weights that were validated last, as Markdown."""
        rows = ["| source | translation | reference |", "|---|---|---|"]
        for (source, references), translation in zip(self.samples, self.translations, strict=True):
            cells = (source, translation, " / ".join(references))
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(rows)

    def pictures(self) -> list[np.ndarray]:
        """The attention of the first samples under the weights that were validated last, if the network has any."""
        return [draw(alignment) for alignment in self.alignments]

    def _translate(self, items: Sequence[Item]) -> list[str]:
        return translate_texts(self.greedy.translate, [item.source for item in items], TRANSLATED_TOGETHER)
