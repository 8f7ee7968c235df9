import random
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tiers.document import documents
from tiers.errors import StageError
from tiers.l1_filtered.exact_duplicates import ExactDuplicates
from tiers.l1_filtered.kernels.duplicates import bucket_pairs
from tiers.l1_filtered.near_duplicates import NearDuplicates
from tiers.l1_filtered.shingles import MinHash, ShingleSets
from tiers.stage import alarms_of, check_outcome

WORDS = [
    f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("ar", "el", "im", "ost", "un") for c in ("a", "er", "ing", "ous")
]


def decide(stage, tables, earlier=()):
    """What a runner does: number the rows, spill each shard, reduce each partition, decide once."""
    first = -sum(table.num_rows for table in earlier)
    numbered = []
    for table in (*earlier, *tables):
        numbered.append(table.append_column("row", pa.array(range(first, first + table.num_rows), pa.int64())))
        first += table.num_rows
    spilled = pa.concat_tables([stage.spill(table) for table in numbered])
    number = pa.array(spilled["partition"].to_numpy() % 3)
    whole = pa.concat_tables([table.select([*documents([]).schema.names, "row"]) for table in numbered])
    fetched = []

    def fetch(rows, columns):
        found = whole.filter(
            pc.greater_equal(whole["row"], 0) if rows is None else pc.is_in(whole["row"], value_set=pa.array(rows))
        )
        fetched.extend([found.num_rows] if "text" in columns else [])
        half = found.num_rows // 2
        yield from (part.select([*columns, "row"]) for part in (found.slice(0, half), found.slice(half)))

    reduced = [stage.reduce(spilled.filter(pc.equal(number, n))) for n in range(3)]
    return stage.decide(pa.concat_tables(reduced), fetch), max(fetched, default=0)


def run(stage, *tables, earlier=()):
    decision, _ = decide(stage, tables, earlier)
    assert decision["row"].to_pylist() == sorted(decision["row"].to_pylist())
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


@pytest.mark.parametrize("stage", [ExactDuplicates(), NearDuplicates(chunk=300)], ids=lambda stage: stage.name)
@settings(max_examples=15)
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
        run(NearDuplicates(prefer="score.other"), whole)


@pytest.mark.parametrize("stage", [ExactDuplicates(), NearDuplicates()], ids=lambda stage: stage.name)
@pytest.mark.parametrize("longer", ["", " and one word more"])
def test_what_was_made_from_a_document_takes_no_documents_place(stage, longer):
    text = " ".join(prose(3))
    if longer and isinstance(stage, ExactDuplicates):
        longer = " "  # white space doesn't count
    products = [
        {"text": text + longer, "source": f"product {number}", "parents": ["0" * 32, "f" * 32]} for number in range(8)
    ]
    whole = documents([*products[:4], {"text": text, "source": "a page"}, *products[4:]])

    assert run(stage, whole)[0] == ["a page"]


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
        true = ShingleSets.of(pa.array([texts[names[row_id]], texts[keeper]]), 5, 10**6).jaccard(0, 1)
        assert similarity == pytest.approx(true, abs=5e-4)


def test_a_crowd_of_copies_takes_linear_work_and_bounded_memory():
    texts = {str(number): " ".join(edited(prose(4, 200), 0.005, number)) for number in range(400)}
    decision, largest_fetch = decide(NearDuplicates(chunk=10_000), [table(texts)])

    assert decision.num_rows == 399
    assert largest_fetch <= 10_000 // 196 + 5
    number = np.arange(400)
    assert len(bucket_pairs(np.zeros(400, np.uint64), number, 3, 0)) < 400 * 4


def test_what_was_released_earlier_stays_and_its_copies_go():
    words = prose(7)
    texts = {"copy": " ".join(words) + " and more of it", "own": " ".join(prose(8)), "same": " ".join(prose(9))}
    earlier = table(
        {"old": " ".join(words[:-5]), "older": " ".join(edited(words, 0.01, 1)[:-9]), "same": texts["same"]}
    )
    kept, dropped = run(NearDuplicates(), table(texts), earlier=[earlier])

    assert kept == ["own"]
    assert {detail.split()[-1] for detail in dropped.values()} <= set(earlier["id"].to_pylist())
    assert run(
        NearDuplicates(prefer="score"), table(texts).append_column("score", pa.array([9.0] * 3)), earlier=[earlier]
    )[0] == ["own"]
    assert run(NearDuplicates(), table(texts))[0] == list(texts)


def test_an_exact_copy_of_what_was_released_earlier_goes():
    texts = {str(n): f"One text, number {n // 2}." for n in range(6)}
    earlier = table({f"old.{n}": texts["0"] for n in range(4)})
    kept, dropped = run(ExactDuplicates(), table(texts), earlier=[earlier])

    assert len(kept) == 2
    assert not {"0", "1"} & set(kept)
    assert sum(detail.split()[-1] == min(earlier["id"].to_pylist()) for detail in dropped.values()) == 2


@pytest.mark.parametrize("stage", [ExactDuplicates(), NearDuplicates()], ids=lambda stage: stage.name)
def test_a_source_that_loses_most_of_its_documents_raises_an_alarm(stage):
    rows = [{"text": " ".join(prose(10)), "source": f"a#{n}", "url": f"https://Mirror.example/{n}"} for n in range(150)]
    rows += [{"text": " ".join(prose(n, 50)), "source": f"b.jsonl#{n}"} for n in range(20, 170)]
    rows += [{"text": " ".join(prose(n % 3, 50)), "source": f"few.jsonl#{n}"} for n in range(30)]
    alarms = alarms_of(decide(stage, [documents(rows)])[0])

    assert alarms[0] == "mirror.example loses 149 of 150 documents, more than 0.5 of them"
    assert alarms[1].endswith("takes the place of 149 documents, more than 0.01 of all")
    assert len(alarms) == 2
    calm = stage.model_copy(update={"max_source_loss": 1, "max_copies": 1})
    assert alarms_of(decide(calm, [documents(rows)])[0]) == []


def test_where_earlier_releases_lie_is_no_part_of_the_identity():
    assert NearDuplicates(against=("there",)).identity() == NearDuplicates().identity()
    assert ExactDuplicates(against=("there",)).earlier() == ("there",)


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


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_jaccard_is_that_of_sets(only_first, both, only_second):
    words = [f"w{n}" for n in range(only_first + both + only_second)]
    sets = ShingleSets.of(pa.array([" ".join(words[: only_first + both]), " ".join(words[only_first:])]), 1, 10**6)
    union = only_first + both + only_second

    assert sets.jaccard(0, 1) == pytest.approx(both / union if union else 0)


def test_a_sample_estimates_the_similarity_of_long_documents():
    words = prose(6, 60_000)
    texts = pa.array([" ".join(words), " ".join(words[:45_000])])
    sample = ShingleSets.of(texts, 5, 2000)

    assert max(np.diff(sample.starts)) < 2200
    assert sample.jaccard(0, 1) == pytest.approx(ShingleSets.of(texts, 5, 10**6).jaccard(0, 1), abs=0.05)


def test_signatures_are_the_same_everywhere():
    keys, sizes = MinHash(5, 2, 3).keys(pa.array(["the quick brown fox jumps over the lazy dog"]))

    assert keys.tolist() == [[2227330918627156314, 6257189376031310346]]
    assert sizes.tolist() == [5]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Café au lait", "cafe\u0301 AU LAIT"),
        ("don't stop", "don t stop"),
        ("ÀÉÎ ẞ", "aei ß"),
        ("हिन्दी भाषा", "हिन्दी, भाषा!"),
        ("ภาษาไทย", "ภาษาไทย "),
        ("𠀀𠀁", "𠀀 𠀁"),
        ("x" * 64 + "y", "x" * 64 + " y"),
    ],
)
def test_words_that_count_as_equal(first, second):
    assert ShingleSets.of(pa.array([first, second]), 2, 1000).jaccard(0, 1) == 1


@pytest.mark.parametrize(
    ("first", "second"), [("ab c", "a bc"), ("今日は", "日今は"), ("한국 말", "한극 말"), ("a1", "a2")]
)
def test_words_that_differ(first, second):
    assert ShingleSets.of(pa.array([first, second]), 2, 1000).jaccard(0, 1) < 1


@given(st.lists(st.text(max_size=60), max_size=8), st.integers(0, 8))
def test_shingles_depend_on_the_text_alone(texts, cut):
    whole, other = (ShingleSets.of(column, 3, 1000) for column in (pa.array(texts, pa.string()), sliced(texts, cut)))

    assert whole.shingles.tolist() == other.shingles.tolist()
    assert whole.starts.tolist() == other.starts.tolist()
    keys, sizes = MinHash(3, 4, 2).keys(sliced(texts, cut))
    assert keys.tolist() == [MinHash(3, 4, 2).keys(pa.array([text]))[0][0].tolist() for text in texts]
    assert (sizes >= np.diff(whole.starts)).all()


def sliced(texts, cut):
    """The same column as chunks, the first of which is a slice."""
    padded = pa.array(["before", *texts], pa.large_string())
    return pa.chunked_array([padded.slice(1, min(cut, len(texts))), padded.slice(1 + min(cut, len(texts)))])


@pytest.mark.parametrize("parameters", [{"threshold": 0}, {"threshold": 1.1}, {"n": 0}, {"bands": 0}, {"chunk": 0}])
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(ValidationError):
        NearDuplicates(**parameters)
