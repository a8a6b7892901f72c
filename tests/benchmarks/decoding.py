"""Decoding speed: sentences a second, and latencies, of Heliograph's SavedModel and of three peers, on Multi30k.

    pip install -e '.[benchmarks]'
    python3 -m venv DIR && DIR/bin/pip install joeynmt==2.3 importlib_metadata torch    (torch for CPUs will do)
    python -m tests.benchmarks.decoding --data ../shared/data/multi30k --joeynmt-python DIR/bin/python [--json FILE]

Translates the 1,000 German sentences of test 2016, in the file's order. Two networks, each trained for two epochs and
kept in `--root` for the next run, with the tutorial's vocabularies of words:

- *lstm*: bidirectional encoder 2 x 256, decoder 2 x 512, Luong's "general" attention, tanh layer of 512. *pytorch_loop*
  has the same weights (`pytorch_search.py`), *joeynmt* its own network of the same sizes, trained on the same tokens.
- *transformer*: 3 + 3 layers of 256, feed-forward 1024. *ctranslate2* has the same weights.

Heliograph reads and writes text; normalisation, tokens and detokenisation are in its time. The peers are given its
tokens and return theirs; their time has the look-up of ids. Beam scores are over GNMT's (5 + length) / 6, but over the
length in the Transformer's rows, as CTranslate2 has it. A translation has at most 2 S + 10 tokens for S source tokens;
in CTranslate2 and JoeyNMT the limit is the batch's, there 2 S + 10 and here 1.5 S of its longest source.

Every system runs in a process of its own, with `--threads` threads. They take turns; in each turn a system translates
all sentences, in requests of the row's batch size. Sentences a second are the median of the turns, p50 and p95 are of
the requests of all turns. Length is the translations' mean, in tokens: speeds compare only where lengths do. *Equal* is
the share of translations that are those of Heliograph's search in Python: with the SavedModel's weights for itself, in
float32 for the peers with the same weights, whose searches end by other rules. Steps are those of that search, the mean
of a sentence, of a request's longest, and the most that were allowed: what the early exit saves. With `stop_after=5` a
search ends as the peers' do, after five hypotheses, and may miss a better one. TF_ONEDNN_ASSUME_FROZEN_WEIGHTS is
TensorFlow's: oneDNN keeps the kernels of products with a bias in the order that it wants.

A first run takes about an hour on two cores, half of it training.
"""

import argparse
import dataclasses
import importlib.util
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.decoding_models import HEADS, NETWORKS, Exported, export, read_lines, train_joeynmt
from tests.benchmarks.decoding_reference import own_process, search, write_tokens, write_weights
from tests.benchmarks.decoding_report import mean_length, print_table, row, write_report
from tests.benchmarks.decoding_worker import Worker

BATCHES = (64, 1)
PROGRAMS = {
    "heliograph": "tests.benchmarks.decoding_session",
    "pytorch_loop": "tests.benchmarks.pytorch_search",
    "joeynmt": "tests.benchmarks.joeynmt_peer",
    "ctranslate2": "tests.benchmarks.ctranslate2_peer",
}
MODULES = {"pytorch_loop": "torch", "ctranslate2": "ctranslate2"}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A system with a model; a row for each beam and batch size."""

    system: str
    model: str
    precision: str
    beams: tuple[int, ...]
    settings: tuple[str, ...] = ()
    """What else of Heliograph's configuration differs, `SECTION.KEY=VALUE` each."""
    environment: tuple[str, ...] = ()
    """What differs in its process' environment, `NAME=VALUE` each."""

    def __str__(self) -> str:
        return " ".join([self.system, self.model, self.precision, *self.settings, *self.environment])


PEERS_RULE = "search.stop_after=5"
RULE_AND_SHORTLIST = (PEERS_RULE, "search.shortlist=20")
FROZEN = ("TF_ONEDNN_ASSUME_FROZEN_WEIGHTS=1",)


CANDIDATES = (  # the first of Heliograph's for a model is the one that peers with its weights are compared with
    Candidate("heliograph", "lstm", "float32", (5, 1)),
    Candidate("heliograph", "lstm", "bfloat16", (5, 1)),
    Candidate("heliograph", "lstm", "float32", (5,), ("search.shortlist=20",)),
    Candidate("heliograph", "lstm", "bfloat16", (5,), ("search.shortlist=20",)),
    Candidate("heliograph", "lstm", "float32", (5,), (PEERS_RULE,)),
    Candidate("heliograph", "lstm", "bfloat16", (5,), (PEERS_RULE,)),
    Candidate("heliograph", "lstm", "float32", (5,), RULE_AND_SHORTLIST),
    Candidate("heliograph", "lstm", "bfloat16", (5,), RULE_AND_SHORTLIST),
    Candidate("heliograph", "lstm", "float32", (5,), RULE_AND_SHORTLIST, FROZEN),
    Candidate("heliograph", "lstm", "bfloat16", (5,), RULE_AND_SHORTLIST, FROZEN),
    Candidate("pytorch_loop", "lstm", "float32", (5, 1)),
    Candidate("joeynmt", "lstm", "float32", (5, 1)),
    Candidate("heliograph", "transformer", "float32", (5,), ("search.length_normalization=tokens",)),
    Candidate("ctranslate2", "transformer", "float32", (5,)),
)


def main() -> None:
    """Parse the options, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the six files of the tutorial preset")
    parser.add_argument("--root", type=Path, default=Path("runs/decoding"), help="where trained models are kept")
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    parser.add_argument("--joeynmt-python", metavar="PATH", help="interpreter of an environment that has JoeyNMT")
    parser.add_argument("--threads", type=int, default=2, help="of each system")
    parser.add_argument("--turns", type=int, default=3, help="of each system")
    parser.add_argument("--batch", type=int, choices=BATCHES, action="append", help="sentences a request; or both")
    parser.add_argument("--only", default="", help="only systems whose description contains this")
    parser.add_argument("--sentences", type=int, default=1000, help="so many, for a quick try")
    parser.add_argument("--epochs", type=int, default=2, help="of training")
    options = parser.parse_args()
    options.batch = options.batch or list(BATCHES)
    options.root, options.data = options.root.resolve(), options.data.resolve()
    chosen = [candidate for candidate in CANDIDATES if options.only in str(candidate)]
    if not chosen:
        parser.error(f"--only: expected a part of one of {'; '.join(map(str, CANDIDATES))}")
    absent = {system for system in dict.fromkeys(one.system for one in chosen) if not _is_there(system, options)}
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Benchmark(options, [one for one in chosen if one.system not in absent], Path(folder))
        rows = [row for model in NETWORKS for row in benchmark.rows(model)]  # one model's systems are in memory
    print_table(rows)
    print(f"mean length of the references: {benchmark.reference_length:.1f} tokens")
    if options.json:
        write_report(options.json, rows, options.threads, len(benchmark.texts), benchmark.reference_length)


def _is_there(system: str, options: argparse.Namespace) -> bool:
    """Whether a system can run; if not, says why."""
    if system in MODULES and importlib.util.find_spec(MODULES[system]) is None:
        print(f"{system} is left out: {MODULES[system]} is not installed; pip install -e '.[benchmarks]'")
        return False
    if system == "joeynmt":
        if options.joeynmt_python is None:
            print("joeynmt is left out: --joeynmt-python is not given; --help says how to install it")
            return False
        if subprocess.run([options.joeynmt_python, "-c", "import joeynmt.hub_interface"]).returncode:
            print(f"joeynmt is left out: {options.joeynmt_python} cannot import it; --help says how to install it")
            return False
    return True


class Benchmark:
    """Makes the models, asks what must be known of them, measures.

    Args:
        options: the command's.
        candidates: the systems.
        folder: for files that are not kept.
    """

    def __init__(self, options: argparse.Namespace, candidates: list[Candidate], folder: Path) -> None:
        self.options, self.candidates, self.folder = options, candidates, folder
        self.texts = read_lines(options.data, "test", "de")[: options.sentences]
        models = {candidate.model for candidate in candidates}
        self.first = {
            one.model: one for one in reversed(CANDIDATES) if one.system == "heliograph" and one.model in models
        }
        ours = dict.fromkeys([*self.first.values(), *(one for one in candidates if one.system == "heliograph")])
        self.exports = {(one, beam): self._export(one, beam) for one in ours for beam in one.beams}
        tokens = options.root / "tokens"
        with own_process() as run:
            exported = next(iter(self.exports.values()))
            self.known = run(write_tokens, (exported, options.data, tokens, options.sentences))
            self.searches = {key: run(search, (exported, self.texts)) for key, exported in self.exports.items()}
            for model, candidate in self.first.items():
                run(write_weights, (self.exports[candidate, candidate.beams[0]], self._weights(model)))
        self.reference_length = mean_length(self.known["references"])
        self.joeynmt: Path | None = None
        if any(candidate.system == "joeynmt" for candidate in candidates):
            self.joeynmt = train_joeynmt(options.joeynmt_python, tokens, options.root / "joeynmt", options.epochs)

    def _export(self, candidate: Candidate, beam: int) -> Exported:
        settings = (f"serving.precision={candidate.precision}", f"search.beam_size={beam}", *candidate.settings)
        return export(self.options.root, self.options.data, candidate.model, self.options.epochs, settings)

    def _weights(self, model: str) -> Path:
        return self.folder / f"{model}.npz"

    def rows(self, model: str) -> list[dict[str, Any]]:
        """The rows of the systems of one model."""
        candidates = [one for one in self.candidates if one.model == model]
        workers = {candidate: self._start(candidate) for candidate in candidates}
        cases = [case for one in candidates for case in itertools.product([one], one.beams, self.options.batch)]
        answers: dict[Any, list[dict[str, Any]]] = {case: [] for case in cases}
        for turn, case in itertools.product(range(self.options.turns), cases):
            candidate, beam, batch = case
            answers[case].append(workers[candidate].turn(beam, batch))
            speed = len(self.texts) / sum(answers[case][-1]["seconds"])
            print(f"turn {turn + 1}: {candidate}, beam {beam}, batch {batch}: {speed:.1f} sentences/s", flush=True)
        for worker in workers.values():
            worker.stop()
        rows = []
        for candidate, beam, batch in cases:
            names = {**dataclasses.asdict(candidate), "beam": beam, "batch": batch}
            own, same = self.searches.get((candidate, beam)), self.searches.get((self.first[model], beam))
            rows.append(
                row(names, answers[candidate, beam, batch], own, None if candidate.system == "joeynmt" else same)
            )
        return rows

    def _start(self, candidate: Candidate) -> Worker:
        """A system, loaded and warm."""
        options, python = self.options, sys.executable
        job = {"sentences": self.known["sources"], "batches": self.options.batch, "beams": candidate.beams}
        job |= {"threads": options.threads}
        if candidate.system == "heliograph":
            versions = {beam: str(self.exports[candidate, beam].version) for beam in candidate.beams}
            job |= {"sentences": self.texts, "models": versions}
        elif candidate.system == "joeynmt":
            python = options.joeynmt_python
            job |= {"model": str(self.joeynmt)}
        else:
            weights = str(self._weights(candidate.model))
            job |= {"weights": weights, "heads": HEADS, "vocabularies": self.known["vocabularies"]}
        path = self.folder / f"job-{self.candidates.index(candidate)}.json"
        command = [python, "-m", PROGRAMS[candidate.system]]
        worker = Worker(str(candidate), command, job, path, candidate.environment)
        print(f"ready: {candidate}", flush=True)
        return worker


if __name__ == "__main__":
    main()
