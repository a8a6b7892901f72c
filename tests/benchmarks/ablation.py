"""What each ingredient brings to the plain LSTM, at a small size: BLEU with one thing changed at a time.

    python -m tests.benchmarks.ablation --data ../shared/data/multi30k [--json FILE] [--seeds 1 2]

Every row is a run of the preset `multi30k-de-en-tutorial` with one layer of 256 units, twice as many updates an epoch
and a learning rate that falls to 0, trained and evaluated by `heliograph evaluate`, and differs from the first row by
what its name says; the last rows have several changes at once. BLEU is that of track LC; perplexities are teacher
forced and per word (of models of words that count rare ones as unknown, so theirs look better than they are), and
free-running per token. A row takes 5 to 8 minutes on one core; rows that are done are not repeated in a folder given
with `--root`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean

BASE = {
    "model.embedding_size": 256,
    "model.hidden_size": 256,
    "model.num_layers": 1,
    "model.dropout": 0.3,
    "model.init_scale": 0.0,
    "training.precision": "bfloat16",
    "training.batch_size": 64,
    "training.learning_rate": 2e-3,
    "training.decay": "cosine",
    "training.warmup_steps": 100,
    "training.selection": "bleu",
    "training.teacher_forcing.start": 1.0,
    "training.teacher_forcing.end": 1.0,
}
SUBWORDS = {
    **{f"{side}.unit": "bpe" for side in ("source", "target")},
    **{f"{side}.max_vocabulary": 4000 for side in ("source", "target")},
    **{f"{side}.min_count": 1 for side in ("source", "target")},
}
CONTEXT = {"model.context": "every_step"}
BIDIRECTIONAL = {"model.bidirectional": True, "model.bridge": "dense", "model.encoder_hidden_size": 128}
SMOOTHING = {"training.label_smoothing": 0.1}
AVERAGING = {"training.ema_momentum": 0.995}
SCHEDULED = {
    "training.teacher_forcing.schedule": "inverse_sigmoid",
    "training.teacher_forcing.steps": 300,
    "training.teacher_forcing.end": 0.5,
}
ALL = {**SUBWORDS, **CONTEXT, **BIDIRECTIONAL, **SMOOTHING, **AVERAGING}
ROWS: dict[str, dict[str, object]] = {
    "base: words, ε = 1": {},
    "ε = 0.75": {"training.teacher_forcing.start": 0.75},
    "ε = 0.5": {"training.teacher_forcing.start": 0.5},
    "ε from 1 to 0.5, inverse sigmoid": SCHEDULED,
    "subwords (BPE 4k)": SUBWORDS,
    "context at every step": CONTEXT,
    "bidirectional": BIDIRECTIONAL,
    "reversed source": {"model.reverse_source": True},
    "label smoothing 0.1": SMOOTHING,
    "moving average of the weights": AVERAGING,
    "all of these but ε < 1 and reversal": ALL,
    "all, and ε from 1 to 0.5": {**ALL, **SCHEDULED},
}
FIGURES = ("greedy_bleu", "bleu", "perplexity_per_word", "free_running_perplexity")


def main() -> None:
    """Parse the options, train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the six files of the tutorial preset")
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of every row")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="trainings of every row, by seed")
    parser.add_argument("--root", type=Path, help="folder of the runs, kept; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.root or Path(temporary)
        rows = []
        for name, changes in ROWS.items():
            if options.only not in name:
                continue
            found = [evaluate(options, root, {**changes, "training.seed": seed}) for seed in options.seeds]
            rows.append(
                {"name": name, "seeds": len(found), **{key: mean(one[key] for one in found) for key in FIGURES}}
            )
            print_row(rows[-1], heading=len(rows) == 1)
            if options.json:
                options.json.write_text(json.dumps({"epochs": options.epochs, "rows": rows}, indent=2) + "\n")


def evaluate(options: argparse.Namespace, root: Path, changes: dict[str, object]) -> dict[str, float]:
    """Train one network and score the test split; the figures of `evaluation.json`."""
    settings = {
        **BASE,
        **changes,
        "training.epochs": options.epochs,
        "data.directory": str(Path(options.data).absolute()),
        "evaluation.samples": 0,
    }
    overrides = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    command = [sys.executable, "-m", "pipeline", "evaluate", "multi30k-de-en-tutorial", *overrides, "--root", str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    folder = Path(done.stdout.splitlines()[-1])
    figures: dict[str, float] = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["figures"]
    return {"perplexity_per_word": figures["perplexity"], **figures}  # of words it is the perplexity itself


def print_row(row: dict[str, object], heading: bool) -> None:
    """One line of the table."""
    if heading:
        print(f"{'':<36}  {'BLEU greedy':>11}  {'beam 5':>6}  {'perplexity':>10}  {'free-running':>12}")
    print(
        f"{row['name']:<36}  {row['greedy_bleu']:11.2f}  {row['bleu']:6.2f}  {row['perplexity_per_word']:10.2f}  "
        f"{row['free_running_perplexity']:12.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
