"""Options that depend on each other: what follows from one, and what does not fit together."""

import pytest

from pipeline.config import SearchConfig, dump, load
from pipeline.model_config import RecurrentConfig, TransformerConfig
from tests.pipeline.test_config import refusal, write


def test_options_of_the_search_that_do_not_fit():
    replace = ["search.replace_unknown=true"]
    expected = "search.allow_unknown: expected true with replace_unknown = true, got false"
    assert expected in refusal("multi30k-de-en-tutorial-attention", *replace)
    replace.append("search.allow_unknown=true")
    load("multi30k-de-en-tutorial-attention", replace)
    expected = 'search: expected replace_unknown = false unless both sides have unit = "word", got true'
    assert expected in refusal("multi30k-de-en-transformer", *replace)
    for override in (replace, ["search.coverage_penalty=0.2"]):
        key = override[0].split("=")[0].split(".")[1]
        assert f"search: expected {key} = " in refusal("multi30k-de-en-tutorial", *override)
    load("multi30k-de-en-transformer", ["search.coverage_penalty=0.2"])


def test_metrics_follow_the_unit_of_the_target():
    assert load("emoji-en-de").metrics == ("bleu", "chrf", "token_bleu", "exact_match")
    assert load("dates").metrics == ("bleu", "chrf", "character_error_rate", "exact_match")
    assert load("g2p-cmudict").metrics == ("word_error_rate", "phone_error_rate", "bleu")
    assert load("dates", ["evaluation.metrics=['chrf']"]).metrics == ("chrf",)


def test_n_best_follows_the_beam():
    assert SearchConfig().n_best == 5
    assert load("dates", ["search.beam_size=1"]).search.n_best == 1
    assert load("dates", ["search.stop_after=5"]).search.stop_after == 5
    assert "search.stop_after: expected 0 or at least n_best (5), got 4" in refusal("dates", "search.stop_after=4")
    message = refusal("dates", "search.n_best=6")
    assert message == "--set search.n_best=6: search.n_best: expected at most beam_size (5), got 6"


@pytest.mark.parametrize(
    ("options", "message", "remedy"),
    [
        (
            ["batch_unit=tokens"],
            'bucket_by_length: expected true with batch_unit = "tokens", got false',
            "bucket_by_length=true",
        ),
        (
            ["decay=inverse_sqrt"],
            'warmup_steps: expected more than 0 with decay = "inverse_sqrt", got 0',
            "warmup_steps=1",
        ),
        (
            ["average_checkpoints=3"],
            "keep_checkpoints: expected at least average_checkpoints (3), got 2",
            "keep_checkpoints=3",
        ),
        (
            ["average_checkpoints=2", "ema_momentum=0.9"],
            "average_checkpoints: expected 1 with ema_momentum (one average is enough), got 2",
            "average_checkpoints=1",
        ),
    ],
)
def test_options_of_the_training_that_exclude_each_other(options, message, remedy):
    overrides = [f"training.{option}" for option in options]
    assert f": training.{message}" in refusal("dates", *overrides)
    load("dates", [*overrides, f"training.{remedy}"])


@pytest.mark.parametrize(
    ("steps", "decay", "total", "updates"),
    [
        (7, "cosine", 5, 7),
        (1.0, "cosine", 5, 1),
        (0.3, "cosine", 5, 1),
        (0.99, "cosine", 1, 0),
        (0, "cosine", 5, 0),
        (0.1, "inverse_sqrt", 5, 1),
        (0.1, "inverse_sqrt", 50, 5),
    ],
)
def test_a_warm_up_below_1_is_a_share_of_the_updates(steps, decay, total, updates):
    training = load("dates", [f"training.warmup_steps={steps}", f"training.decay={decay}"]).training
    assert training.warmup_updates(total) == updates
    assert "expected a whole number of updates, or a share of them below 1, got 2.5" in refusal(
        "dates", "training.warmup_steps=2.5"
    )


TRANSFORMER = """
[data]
builtin = "dates"
[model]
architecture = "transformer"
"""


def test_the_architecture_decides_which_keys_the_model_has(tmp_path):
    path = write(tmp_path, TRANSFORMER)
    config = load(path, ["model.num_layers=5", "model.dropout=0.3"])
    assert type(config.model) is TransformerConfig and type(load("dates").model) is RecurrentConfig
    assert (config.model.num_layers, config.model.encoder_layers) == (5, 5)
    assert load(write(tmp_path, dump(config), "mine.toml")) == config
    assert load(path, ["model.encoder_layers=1"]).model.encoder_layers == 1


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("cell=gru", 'model.cell: unknown key; it belongs to architecture = "recurrent", here it is "transformer"'),
        ("embedding_size=3", "model.embedding_size: unknown key; it belongs to architecture"),
        ("headz=3", "model.headz: unknown key; did you mean model.heads?"),
        ("zzz=3", "model.zzz: unknown key; known keys here: architecture, hidden_size, num_layers, encoder_layers"),
        ("heads=3", "model.heads: expected a divisor of hidden_size (256), got 3"),
        ("hidden_size=255", "model.hidden_size: expected an even number, got 255"),
        ("num_layers=x", 'model.num_layers: expected a whole number, got "x"'),
        ("activation=tanh", "model.activation: expected 'relu' or 'gelu', got \"tanh\""),
    ],
)
def test_mistakes_in_a_section_of_several_kinds(tmp_path, override, complaint):
    path = write(tmp_path, TRANSFORMER)
    assert refusal(path, f"model.{override}").startswith(f"--set model.{override}: {complaint}")


@pytest.mark.parametrize(
    ("overrides", "message", "remedy"),
    [
        (["source.bpe_dropout=0.1"], 'source.bpe_dropout: expected 0.0 with unit = "character", got 0.1', "unit=bpe"),
        (
            ["source.unit=bpe", "source.sampling_alpha=0.1"],
            'source.sampling_alpha: expected 0.0 with unit = "bpe", got 0.1',
            "unit=unigram",
        ),
        (
            ["source.unit=word", "source.character_coverage=0.99"],
            'source.character_coverage: expected 1.0 with unit = "word", got 0.99',
            "unit=wordpiece",
        ),
    ],
)
def test_options_that_do_not_suit_the_unit(overrides, message, remedy):
    assert message in refusal("dates", *overrides)
    load("dates", [*overrides, f"source.{remedy}"])


def test_a_joint_vocabulary_needs_equal_sides():
    overrides = ["vocabulary.joint=true", "source.lowercase=true", "target.lowercase=false", "source.min_count=7"]
    assert refusal("dates", *overrides).endswith(
        "vocabulary: expected equal sections source and target with joint = true, got different lowercase, min_count"
    )
    assert load("dates", ["vocabulary.joint=true"]).vocabulary.joint
    assert "vocabulary: expected segmentations = 32 without sampling" in refusal("dates", "vocabulary.segmentations=3")
    assert "vocabulary: expected max_words = 500000 without a" in refusal("dates", "vocabulary.max_words=3")
    load("dates", ["vocabulary.max_words=3", "source.unit=unigram"])
    tied = ["model.embedding_size=128", "model.tied=all"]
    assert "model: expected tied" in refusal("dates", *tied)
    load("dates", [*tied, "vocabulary.joint=true"])


@pytest.mark.parametrize(
    ("options", "message", "remedy"),
    [
        (["bidirectional=true"], 'bridge: expected "dense" with bidirectional = true, got "copy"', "bridge=dense"),
        (
            ["encoder_hidden_size=64"],
            'encoder_hidden_size: expected 128, as in the decoder, or bridge = "dense", got 64',
            "bridge=dense",
        ),
        (
            ["encoder_layers=2"],
            'encoder_layers: expected 1, as in the decoder, or bridge = "dense", got 2',
            "num_layers=2",
        ),
        (
            ["attention=dot", "bidirectional=true", "bridge=dense"],
            'attention: expected "general" or "additive" where an encoder output (256 units) is no decoder state (128)',
            "attention=general",
        ),
        (
            ["variational_dropout=true", "dropout=0"],
            "variational_dropout: expected false without dropout and output_dropout, got true",
            "output_dropout=0.1",
        ),
        (
            ["attention=dot", "context=every_step"],
            'context: expected "initial" with attention = "dot"',
            "context=initial",
        ),
        (
            ["context_from=max"],
            'context_from: expected "final" with context = "initial", got "max"',
            "context=every_step",
        ),
        (
            ["input_feeding=true"],
            'attention: expected "dot" or "general" with input_feeding, got "none"',
            "input_feeding=false",
        ),
        (
            ["input_feeding=true", "attention=dot"],
            "output_size: expected at least 1 with input_feeding",
            "output_size=8",
        ),
        (
            ["attention=dot", "tied=target"],
            'output_size: expected embedding_size (64) with tied = "target"',
            "output_size=64",
        ),
        (
            ["attention=additive", "variational_dropout=true", "dropout=0.1", "num_layers=2"],
            "variational_dropout: expected false with additive attention or input_feeding",
            "num_layers=1",
        ),
        (
            ["tied=target"],
            'embedding_size: expected hidden_size (128) with tied = "target", got 64',
            "embedding_size=128",
        ),
    ],
)
def test_options_of_the_network_that_do_not_fit(options, message, remedy):
    overrides = [f"model.{option}" for option in options]
    assert f": model.{message}" in refusal("dates", *overrides)
    load("dates", [*overrides, f"model.{remedy}"])


def test_the_encoder_has_the_decoders_size_unless_it_is_given_its_own():
    model = load("dates", ["model.hidden_size=96", "model.num_layers=3"]).model
    assert (model.encoder_hidden_size, model.encoder_layers) == (96, 3)
    model = load("dates", ["model.encoder_layers=2", "model.bridge=dense"]).model
    assert (model.encoder_layers, model.num_layers) == (2, 1)
    assert refusal("dates", "model.hidden_size=0").endswith("expected greater than or equal to 1, got 0")


def test_the_score_that_blesses():
    assert load("dates").bless_metric == "bleu" and load("g2p-cmudict").bless_metric == "word_error_rate"
    assert load("emoji-en-de", ["evaluation.metrics=['chrf', 'bleu']"]).bless_metric == "chrf"
    assert "evaluation: expected one of metrics (chrf) for bless_metric, got bleu" in refusal(
        "dates", "evaluation.metrics=['chrf']", "evaluation.bless_metric=bleu"
    )
    assert "evaluation.length_edges: expected rising lengths, got [9, 5]" in refusal(
        "dates", "evaluation.length_edges=[9, 5]"
    )
