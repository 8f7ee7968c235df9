"""Trains a classifier on pools of good and bad texts, and on what it finds itself, and scores every document with it.

The recipe of Ultra-FineWeb (MiniCPM4 report, section 3.1): seeds that are known to be good against others, as many of
one kind as of the other, in rounds, in which what the classifier of one round is sure of is training data of the next.
Theirs is a fastText model; this one is a ridge regression on hashed words and pairs of words, as in `distil`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash
from pydantic import Field

from tiers.errors import StageError
from tiers.l1_filtered.benchmark_items import read_items
from tiers.l2_scored.annotate import in_sample
from tiers.l2_scored.features import Features, columns_of, features, features_in, joined
from tiers.l2_scored.linear import Floats, Linear
from tiers.l2_scored.scorer import QUALITY, QUALITY_BY, Scorer, fit_scorer
from tiers.reference import Reference
from tiers.stage import Fetch, GlobalStage, Outcome


class Classify(GlobalStage):
    """Scores every row by how probably it is one of the good ones: `score.quality`, from 0 to 1.

    The probability supposes that good and bad are equally frequent. The decision holds the scorer and, under
    `report.*`, how it tells apart those of the pools that it wasn't fitted to; `scorer_report` reads that. It never is
    measured on its own inferences.

    Attributes:
        positives: Files or folders of good texts: JSON, JSON lines or Parquet.
        negatives: The same of bad ones; where there are none, a sample of the run's own documents is taken for bad.
        text_field: The key of the texts.
        rounds: Of training. From the second on, own documents take part that the last round's model was sure of.
        sure: From this score on an own document counts as good, and up to one minus it as bad.
        share: How much of the run's documents is in the sample from which own ones are taken; by their ids alone.
        penalty: Of the ridge regression.
        excerpt_bytes: How much of a text's beginning is looked at.
        least: Fewer texts of either kind than this are refused.
        most: Of more texts of either kind, or own documents, those with the smallest hashes are used.
        folds: Of the cross-validation behind calibration and report.
    """

    name: ClassVar[str] = "classify"
    version: ClassVar[int] = 2
    gives: ClassVar[tuple[pa.Field, ...]] = (QUALITY, QUALITY_BY)

    positives: Annotated[tuple[Reference, ...], Field(min_length=1)]
    negatives: tuple[Reference, ...] = ()
    text_field: str = "text"
    rounds: int = Field(default=2, ge=1, le=20)
    sure: float = Field(default=0.8, gt=0.5, lt=1)
    share: float = Field(default=0.1, gt=0, le=1)
    penalty: float = Field(default=1.0, gt=0)
    excerpt_bytes: int = Field(default=4096, ge=50, le=1 << 24)
    least: int = Field(default=30, ge=10)
    most: int = Field(default=20_000, ge=10)
    folds: int = Field(default=5, ge=2)

    def spill(self, table: pa.Table) -> pa.Table:
        """The features of the sample, with a hash of the id to order them by."""
        wanted = self.rounds > 1 or not self.negatives
        mask = [wanted and in_sample(row_id, self.share, self.name) for row_id in table["id"].to_pylist()]
        sample = table.filter(pa.array(mask, pa.bool_()))
        order = [_order(row_id) for row_id in sample["id"].to_pylist()]
        seen = features(sample["text"], self.excerpt_bytes)
        start = {"partition": pa.array(np.zeros(len(seen), np.uint32)), "order": pa.array(order, pa.uint64())}
        return pa.table(start | columns_of(seen))

    def reduce(self, partition: pa.Table) -> pa.Table:
        """The sample, in the order of its hashes."""
        return partition.sort_by("order").slice(0, 2 * self.most)

    def decide(self, findings: pa.Table, fetch: Fetch) -> pa.Table:
        """Trains the classifier.

        Raises:
            StageError: There are too few texts of either kind.
            SourceError: A pool can't be read.
        """
        own = features_in(findings)
        good = self._pool(self.positives)
        bad = self._pool(self.negatives) if self.negatives else own.take(np.arange(min(len(own), len(good), self.most)))
        rest = own if self.negatives else own.take(np.arange(len(bad), len(own)))
        for kind, pool in (("good", good), ("bad", bad)):
            if len(pool) < self.least:
                least = f"at least {self.least}"
                raise StageError(f"too few {kind} texts to train on", where=self.name, got=len(pool), expected=least)
        size = min(len(good), len(bad))
        mixed = np.random.default_rng(0).permutation(2 * size)
        seeds = joined(good.take(np.arange(size)), bad.take(np.arange(size))).take(mixed)
        truth = (mixed < size).astype(np.float64)
        scorer, measured = fit_scorer(
            seeds, truth[:, None], (), lambda rows: self._train(seeds.take(rows), truth[rows], rest), self.folds
        )
        raw = scorer.model.predict(rest)[:, 0]
        sure = [float(np.mean(some)) if len(rest) else 0.0 for some in (raw >= self.sure, raw <= 1 - self.sure)]
        return scorer.table(measured | {"own": [float(len(rest))], "own_good": sure[:1], "own_bad": sure[1:]})

    def apply(self, table: pa.Table, decision: pa.Table) -> Outcome:
        """Scores every row."""
        scorer = Scorer.from_table(decision)
        return Outcome(kept=scorer.add_quality(table, scorer.model.score(table["text"], self.excerpt_bytes)))

    def _train(self, seeds: Features, truth: Floats, own: Features) -> Linear:
        """The model after all rounds."""
        if not self.negatives:
            certain = np.flatnonzero((truth == 1) | ~self._looks_good(seeds, truth))
            seeds, truth = seeds.take(certain), truth[certain]
        model = Linear.fit(seeds, truth[:, None], self.penalty)
        for _ in range(1, self.rounds):
            raw = model.predict(own)[:, 0]
            good, bad = np.flatnonzero(raw >= self.sure), np.flatnonzero(raw <= 1 - self.sure)
            count = min(len(good), len(bad), len(seeds) // 2)
            inferred = own.take(np.concatenate([good[:count], bad[:count]]))
            labels = np.concatenate([truth, np.repeat([1.0, 0.0], count)])
            model = Linear.fit(joined(seeds, inferred), labels[:, None], self.penalty)
        return model

    def _looks_good(self, seeds: Features, truth: Floats) -> npt.NDArray[np.bool_]:
        """Which seeds are rather good, by a model of the other half: what is only supposed to be bad may not be."""
        half, raw = np.arange(len(seeds)) % 2, np.zeros(len(seeds))
        for k in range(2):
            others, these = np.flatnonzero(half != k), np.flatnonzero(half == k)
            model = Linear.fit(seeds.take(others), truth[others][:, None], self.penalty)
            raw[these] = model.predict(seeds.take(these))[:, 0]
        return np.asarray(raw >= 0.5)

    def _pool(self, references: Sequence[Reference]) -> Features:
        """The features of the texts of a pool, each once, in the order of their hashes."""
        fields = (self.text_field,)
        items = (item for reference in references for item in read_items(reference.url, reference, fields))
        texts = sorted({item.text for item in items if item.text.strip()}, key=lambda text: (_order(text), text))
        return features(pa.chunked_array([pa.array(texts[: self.most], pa.large_string())]), self.excerpt_bytes)


def _order(key: str) -> int:
    """A number that has nothing to do with anything else."""
    return xxhash.xxh3_64_intdigest(f"classify/{key}".encode("utf-8", "surrogatepass"))
