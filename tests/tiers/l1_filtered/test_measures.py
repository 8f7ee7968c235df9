from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tiers.l1_filtered.measures import Measures, Ngrams, WordMemory, covered, duplicated, repeated, repeats, top_run

TEXTS = st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), min_size=1, max_size=60).map(" ".join)


def _ngrams(text):
    measures = Measures(text, WordMemory())
    return measures, Ngrams(measures)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 4))
def test_top_run_is_the_first_of_the_most_frequent(text, n):
    words = text.split()
    runs = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    first, count = runs.most_common(1)[0] if runs else ((), 0)

    assert top_run(_ngrams(text)[1], n) == (count, len(" ".join(first)))


@settings(deadline=None)
@given(TEXTS, st.integers(2, 5))
def test_duplicated_characters_are_counted_from_the_left_without_overlap(text, n):
    words = text.split()
    seen, total, at = set(), 0, 0
    while at + n <= len(words):
        run = tuple(words[at : at + n])
        total += len("".join(run)) if run in seen else 0
        at += n if run in seen else 1
        seen.add(run)
    measures, ngrams = _ngrams(text)
    hashes = ngrams.hashes(n)
    recurring, repeating = repeats(hashes)

    assert duplicated(hashes, n, recurring, ngrams.lengths(n)) == total
    assert covered(repeating, n, measures.offsets) >= total


@settings(deadline=None)
@given(TEXTS)
def test_a_full_memory_changes_no_result(text):
    tiny, large = WordMemory(limit=1), WordMemory()
    for _ in range(2):
        assert (Measures(text, tiny).records == Measures(text, large).records).all()
    assert len(tiny) <= 1


def test_long_chunks_are_not_remembered():
    memory = WordMemory()
    memory.table(["word", "w" * 1000])

    assert list(memory) == ["word"]


def test_repeated_counts_each_time_after_the_first():
    assert repeated(["one", "two", "one", "one"]) == (2, 6)
    assert repeated([]) == (0, 0)
