import random
from itertools import product

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tiers.document import documents
from tiers.errors import StageError
from tiers.l1_filtered.exact_duplicates import ExactDuplicates
from tiers.l1_filtered.near_duplicates import NearDuplicates
from tiers.l1_filtered.shingles import MinHash, jaccard, shingles
from tiers.stage import check_outcome

WORDS = [
    f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("ar", "el", "im", "ost", "un") for c in ("a", "er", "ing", "ous")
]


def decide(stage, tables):
    """What a runner does: spill each shard, reduce each partition, decide once."""
    spilled = pa.concat_tables([stage.spill(table) for table in tables])
    assert spilled.num_rows == 0 or pc.max(spilled["partition"]).as_py() < stage.partitions
    parts = [spilled.filter(pc.equal(spilled["partition"], n)) for n in range(stage.partitions)]
    whole = pa.concat_tables(tables)
    place = {row_id: number for number, row_id in enumerate(whole["id"].to_pylist())}
    fetched = []

    def fetch(ids):
        fetched.append(len(ids))
        return whole.take([place[row_id] for row_id in ids])

    decision = stage.decide(pa.concat_tables([stage.reduce(part) for part in parts]), fetch)
    return decision, max(fetched, default=0)


def run(stage, *tables):
    decision, _ = decide(stage, tables)
    dropped, kept = {}, []
    for table in tables:
        outcome = stage.apply(table, decision)
        check_outcome(stage, table, outcome)
        dropped |= {row["id"]: row["detail"] for row in outcome.dropped.to_pylist()}
        kept += outcome.kept["source"].to_pylist()
    return kept, dropped


def prose(seed, length=300):
    return random.Random(seed).choices(WORDS, k=length)


def edited(words, share, seed):
    order = random.Random(seed)
    changed = list(words)
    for place in order.sample(range(len(words)), round(share * len(words))):
        changed[place] = f"new{order.randrange(10**6)}"
    return changed


def table(texts):
    return documents([{"text": text, "source": source} for source, text in texts.items()])


def test_exact_duplicates_keep_the_smallest_id():
    whole = table({"a": "One text.", "b": "Other text.", "c": "One\n text. ", "d": "One text."})
    ids = dict(zip(whole["source"].to_pylist(), whole["id"].to_pylist(), strict=True))
    keeper = min(ids["a"], ids["c"], ids["d"])
    kept, dropped = run(ExactDuplicates(), whole)

    assert len(kept) == 2
    assert set(dropped) == {ids["a"], ids["c"], ids["d"]} - {keeper}
    assert set(dropped.values()) == {f"duplicate of {keeper}"}


def test_exact_duplicates_differ_in_case_unless_told_otherwise():
    whole = table({"a": "Café", "b": "CAFÉ", "c": "Cafe\u0301"})

    assert len(run(ExactDuplicates(), whole)[0]) == 2
    assert len(run(ExactDuplicates(casefold=True), whole)[0]) == 1


@pytest.mark.parametrize("stage", [ExactDuplicates(), NearDuplicates()], ids=lambda stage: stage.name)
def test_no_documents_at_all(stage):
    assert run(stage, table({})) == ([], {})


@pytest.mark.parametrize("stage", [ExactDuplicates(), NearDuplicates(max_bucket=4)], ids=lambda stage: stage.name)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_decision_depends_neither_on_order_nor_on_shards(stage, data):
    texts = {}
    for seed, copy in product(range(4), range(6)):
        texts[f"{seed}.{copy}"] = " ".join(edited(prose(seed, 80), 0.01 * (copy // 2), copy // 2))
    expected = run(stage, table(texts))[1]
    order = data.draw(st.permutations(list(texts)))
    cut = data.draw(st.integers(0, len(order)))
    shards = [table({name: texts[name] for name in part}) for part in (order[:cut], order[cut:])]

    assert run(stage, *shards)[1] == expected
    assert expected


def test_planted_copies_are_found_and_decoys_are_not():
    texts = {}
    for seed in range(60):
        words = prose(seed)
        texts[f"{seed}.original"] = " ".join(words)
        texts[f"{seed}.copy"] = " ".join(edited(words, 0.01, seed)[:-1])
        texts[f"{seed}.decoy"] = " ".join(edited(words, 0.6, seed + 1))
    kept, dropped = run(NearDuplicates(), table(texts))

    assert all(f"{seed}.decoy" in kept for seed in range(60))
    assert all((f"{seed}.original" in kept) or (f"{seed}.copy" in kept) for seed in range(60))
    assert len(dropped) >= 57
    assert all(float(detail.split()[0]) >= 0.8 for detail in dropped.values())


def test_case_layout_and_punctuation_do_not_set_copies_apart():
    words = prose(1)
    kept, dropped = run(NearDuplicates(), table({"a": " ".join(words), "b": ",\n".join(words).upper()}))

    assert len(kept) == 1
    assert next(iter(dropped.values())).startswith("1.000 similar to ")


def test_the_longer_copy_is_kept_or_the_preferred_one():
    words = prose(2)
    whole = table({"short": " ".join(words[:-10]), "long": " ".join(words)})
    whole = whole.append_column("score.value", pa.array([0.9, 0.1]))

    assert run(NearDuplicates(), whole)[0] == ["long"]
    assert run(NearDuplicates(prefer="score.value"), whole)[0] == ["short"]
    with pytest.raises(StageError, match=r"score\.other"):
        NearDuplicates(prefer="score.other").spill(whole)


def test_whatever_is_dropped_is_similar_to_a_kept_document():
    words = prose(3, 400)
    texts = {}
    for step in range(30):  # Each is close to the next, and the last is unlike the first.
        texts[f"{step:02}"] = " ".join(words[10 * step : 10 * step + 100])
    whole = table(texts)
    names = dict(zip(whole["id"].to_pylist(), texts, strict=True))
    kept, dropped = run(NearDuplicates(threshold=0.6, bands=50, rows=3), whole)

    assert len(kept) > 5
    for row_id, detail in dropped.items():
        similarity, keeper = float(detail.split()[0]), names[detail.split()[-1]]
        assert keeper in kept
        true = jaccard(shingles(texts[names[row_id]], 5), shingles(texts[keeper], 5), 10**6)
        assert similarity == pytest.approx(true, abs=5e-4)


def test_a_crowd_of_copies_takes_linear_work():
    texts = {str(number): " ".join(edited(prose(4, 200), 0.005, number)) for number in range(400)}
    stage = NearDuplicates(max_bucket=8, chunk=50)
    whole = table(texts)
    spilled = stage.spill(whole)
    pairs = sum(
        stage.reduce(spilled.filter(pc.equal(spilled["partition"], n))).num_rows for n in range(stage.partitions)
    )
    decision, largest_fetch = decide(stage, [whole])

    assert pairs < 400 * 14 * 4
    assert decision.num_rows == 399
    assert largest_fetch <= 50


def test_scripts_without_spaces_are_shingled_by_character():
    original = "灯塔看守人每天晚上都会爬上楼梯，点亮指引船只沿着海岸航行的灯。他好几天都看不到港口。"
    kept, _ = run(NearDuplicates(), table({"a": original, "b": original + "好", "c": original[::-1]}))

    assert kept == ["b", "c"]


@pytest.mark.parametrize("text", ["", "  ", "...", "\x00"])
def test_texts_without_words_are_never_near_duplicates(text):
    assert len(run(NearDuplicates(), table({"a": text, "b": text}))[0]) == 2


def test_short_texts_are_one_shingle():
    assert len(run(NearDuplicates(), table({"a": "three short words", "b": "Three short words!"}))[0]) == 1


def test_one_long_document():
    text = " ".join(prose(5, 60_000))
    assert len(run(NearDuplicates(max_shingles=1000), table({"a": text, "b": text + " end"}))[0]) == 1


@settings(deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000))
def test_jaccard_is_that_of_sets(only_first, both, only_second):
    values = shingles(" ".join(f"w{n}" for n in range(only_first + both + only_second + 4)), 5)
    order = values[random.Random(1).sample(range(len(values)), len(values))]
    first, second = order[: only_first + both], order[only_first : only_first + both + only_second]
    union = only_first + both + only_second
    first.sort()
    second.sort()

    assert jaccard(first, second, 10**6) == pytest.approx(both / union if union else 0)


def test_a_sample_estimates_the_similarity_of_long_documents():
    words = prose(6, 60_000)
    first, second = shingles(" ".join(words), 5), shingles(" ".join(words[:45_000]), 5)

    assert jaccard(first, second, 2000) == pytest.approx(jaccard(first, second, 10**6), abs=0.05)


def test_signatures_are_the_same_everywhere():
    keys = MinHash(2, 3).keys(shingles("the quick brown fox jumps over the lazy dog", 5))

    assert keys.tolist() == [1067945981439106597, 1011898213903974579]


@pytest.mark.parametrize("parameters", [{"threshold": 0}, {"threshold": 1.1}, {"n": 0}, {"bands": 0}, {"chunk": 1}])
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(ValidationError):
        NearDuplicates(**parameters)
