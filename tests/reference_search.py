"""Slow, readable oracles of the search: plain Python over tuples of tokens, one sentence at a time."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

Tokens = tuple[int, ...]
Model = Callable[[Tokens], tuple[np.ndarray, np.ndarray]]
"""A hypothesis to the log-probabilities [V] of what follows, and the attention [S] of the step that says so."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """What may be found, and by what it is compared."""

    vocabulary_size: int
    end_id: int
    max_length: int
    alpha: float = 0.0
    normalization: str = "gnmt"
    beta: float = 0.0
    min_length: int = 0
    ngram: int = 0
    never: Tokens = ()
    banned: tuple[Tokens, ...] = ()
    prefix: Tokens = ()
    choices: Tokens | None = None
    stop_after: int = 0

    @property
    def longest(self) -> int:
        return max(self.max_length, len(self.prefix))


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    score: float
    log_probability: float
    tokens: Tokens


def may_follow(tokens: Tokens, rules: Rules) -> Iterator[int]:
    """The tokens that may follow a hypothesis."""
    if len(tokens) < len(rules.prefix):
        yield rules.prefix[len(tokens)]
    elif len(tokens) >= rules.longest:
        yield rules.end_id
    else:
        for token in range(rules.vocabulary_size):
            longer = (*tokens, token)
            if token == rules.end_id:
                if len(tokens) >= min(rules.min_length, rules.longest):
                    yield token
            elif not (
                token in rules.never
                or (rules.choices is not None and token not in rules.choices)
                or repeats(longer, rules.ngram)
                or any(longer[-len(phrase) :] == phrase for phrase in rules.banned)
            ):
                yield token


def repeats(tokens: Tokens, size: int) -> bool:
    """Whether the last n-gram occurs before."""
    grams = [tokens[start : start + size] for start in range(len(tokens) - size + 1)]
    return size > 0 and len(grams) > 0 and grams[-1] in grams[:-1]


def penalty(length: int, rules: Rules) -> float:
    return float((length if rules.normalization == "tokens" else (5 + length) / 6) ** rules.alpha)


def finished(model: Model, log_probability: float, tokens: Tokens, rules: Rules) -> Hypothesis:
    """A hypothesis with its end."""
    coverage = sum(model(tokens[:count])[1] for count in range(len(tokens) + 1))
    missing = rules.beta * np.log(np.clip(coverage, 1e-9, 1.0)).sum()
    return Hypothesis(log_probability / penalty(len(tokens) + 1, rules) + missing, log_probability, tokens)


def exhaustive_search(model: Model, rules: Rules) -> list[Hypothesis]:
    """Every hypothesis there is, best first."""

    stuck: list[Hypothesis] = []

    def longer(tokens: Tokens, total: float) -> Iterator[Hypothesis]:
        log_probabilities, _ = model(tokens)
        following = [*may_follow(tokens, rules)]
        if not following:
            stuck.append(finished(model, total + log_probabilities[rules.end_id], tokens, rules))
        for token in following:
            if token == rules.end_id:
                yield finished(model, total + log_probabilities[token], tokens, rules)
            else:
                yield from longer((*tokens, token), total + log_probabilities[token])

    found = [*longer((), 0.0)]
    if not found:  # those that get farthest end where nothing may follow
        farthest = max(len(hypothesis.tokens) for hypothesis in stuck)
        found = [hypothesis for hypothesis in stuck if len(hypothesis.tokens) == farthest]
    return sorted(found, key=lambda hypothesis: -hypothesis.score)


def beam_search(model: Model, rules: Rules, beam_size: int, n_best: int) -> tuple[list[Hypothesis], int]:
    """Beam search as `models.beam_search` describes it, and the number of steps."""
    live: list[tuple[float, Tokens]] = [(0.0, ())]
    found: list[Hypothesis] = []
    ended = 0
    for step in range(rules.longest + 1):
        candidates = []
        for total, tokens in live:
            log_probabilities, _ = model(tokens)
            candidates += [(total + log_probabilities[token], tokens, token) for token in may_follow(tokens, rules)]
        if not candidates:  # nothing may follow any of them: they end
            candidates = [(total + model(tokens)[0][rules.end_id], tokens, rules.end_id) for total, tokens in live]
        candidates = sorted(candidates, key=lambda candidate: -candidate[0])[: 2 * beam_size]
        ends = [candidate for candidate in candidates[:beam_size] if candidate[2] == rules.end_id]
        ended += len(ends)
        found += [finished(model, total, tokens, rules) for total, tokens, _ in ends]
        found = sorted(found, key=lambda hypothesis: -hypothesis.score)[:n_best]
        live = [(total, (*tokens, token)) for total, tokens, token in candidates if token != rules.end_id][:beam_size]
        reachable = live[0][0] / penalty(rules.longest + 1, rules) if live else -np.inf
        no_live_one_can_win = not live or (len(found) == n_best and found[-1].score >= reachable)
        if no_live_one_can_win or (beam_size == 1 and found) or 0 < rules.stop_after <= ended:
            return found, step + 1
    return found, rules.longest + 1
