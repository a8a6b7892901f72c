"""Pictures of attention: a cell for each pair of tokens, as dark as its weight."""

import numpy as np

from pipeline.attention_images import Alignment, alignments, draw


def test_an_answer_becomes_sentences_without_padding():
    weights = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    answer = {
        "source_tokens": np.array([[b"a", b"b", b"c", b"</s>"], ["ü".encode(), b"</s>", b"", b""]], object),
        "target_tokens": np.array([[b"x", b"</s>", b""], [b"x", b"y", b"</s>"]], object),
        "weights": weights,
    }
    first, second = alignments(answer)
    assert first.source_tokens == ["a", "b", "c", "</s>"] and first.target_tokens == ["x", "</s>"]
    np.testing.assert_array_equal(first.weights, weights[0, :2])
    assert second.source_tokens == ["ü", "</s>"] and len(second.target_tokens) == 3
    np.testing.assert_array_equal(second.weights, weights[1, :, :2])


def test_cells_are_as_dark_as_their_weights():
    weights = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]], np.float32)
    picture = draw(Alignment(["größe", "$x_1$", "漢字"], ["size", "</s>"], weights))
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    height, width = picture.shape[:2]
    brightness = picture.astype(float).mean(axis=2)
    # The cells lie at the lower right, 25 pixels each; what is outside of them is white paper with labels.
    centres = [[brightness[height - 18 - 25 * (1 - r), width - 18 - 25 * (2 - c)] for c in range(3)] for r in range(2)]
    order = np.argsort(np.ravel(centres))
    assert sorted(order[:2]) == [0, 4] and order[2] == 2
    assert (
        brightness[0, 0] == 255
        and (brightness[: height - 60] < 100).any()
        and (brightness[:, : width - 85] < 100).any()
    )


def test_long_labels_take_no_room_from_the_cells():
    small, large = (draw(Alignment([label] * 3, [label] * 2, np.eye(2, 3))) for label in ("a", "a" * 30))
    assert large.shape[0] > small.shape[0] + 50 and large.shape[1] > small.shape[1] + 50
