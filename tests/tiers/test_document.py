import pyarrow as pa
import pytest

from tiers.document import DOCUMENT, check_schema, count_tokens, document_id, documents
from tiers.errors import SchemaError


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("One word, then more.", 6),
        ("snake_case(x)\n\ty", 5),
        ("a\x00b", 3),
        ("Größe über alles", 3),
        ("你好, world", 4),
        ("e\u0301te\u0301 • 1½", 3),
    ],
)
def test_tokens_are_words_han_characters_and_marks(text: str, tokens: int) -> None:
    assert count_tokens(pa.chunked_array([[text]], pa.large_string())) == tokens
    assert count_tokens(pa.chunked_array([[text, "ä", "a"]], pa.large_string())) == tokens + 2


def test_an_id_follows_from_the_source_alone() -> None:
    table = documents([{"text": "x", "source": "a#1"}, {"text": "y", "source": "a#1", "meta": {"k": "v"}}])
    assert table["id"].to_pylist() == [document_id("a#1")] * 2
    assert table.schema.equals(DOCUMENT, check_metadata=True)


def test_another_version_of_the_schema_is_refused() -> None:
    other = DOCUMENT.with_metadata({"tierline.schema": "document/0"})
    with pytest.raises(SchemaError, match=r"x\.arrow: .*got 'document/0'; expected 'document/2'"):
        check_schema(other, "x.arrow")
    with pytest.raises(SchemaError, match="columns are missing"):
        check_schema(DOCUMENT, "x.arrow", ["score.quality"])
