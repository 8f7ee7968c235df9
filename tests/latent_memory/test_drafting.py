import json
from pathlib import Path

import pytest

from latent_memory.data import read_drafted
from latent_memory.drafting import check_draft, draft
from tiers.llm.models import load_causal_lm

TEXT = "The bridge over the Aller was opened in 1742."


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("When was the bridge opened?\n1742", True),
        ("When was the bridge opened?\n1742.", True),
        ("When was the bridge opened?\n1743", False),
        ("Was the bridge opened in 1742?\n1742", False),
        ("When was the bridge opened?", False),
        ("It was opened.\n1742", False),
        ("What is said?\nThe bridge over the Aller was opened", False),
        ("When was it opened?\n1742\nWhere?\nAller", False),
        ("When?\n.", False),
    ],
)
def test_a_draft_counts_where_its_answer_is_copied_and_not_given_away(written: str, kept: bool) -> None:
    assert check_draft(TEXT, written) == (("When was the bridge opened?", "1742") if kept else None)


def test_a_real_model_drafts_and_goes_on_where_it_stopped(models_dir: Path, tmp_path: Path) -> None:
    model, tokenizer = load_causal_lm("smollm2-135m", models_dir, dtype="float32")
    texts = [
        TEXT,
        "The opera Alceste was written by Christoph Willibald Gluck in Vienna.",
        "Mercury is the only metal that is liquid at room temperature.",
    ]
    draft(texts, model, tokenizer, tmp_path / "whole.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "whole.jsonl").read_text().splitlines()]
    assert [row["evidence"] for row in rows] == texts
    questions = read_drafted(tmp_path / "whole.jsonl")
    assert questions
    assert all(q.answers[0] in q.evidence[0] and q.text.endswith("?") for q in questions)
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "broken.jsonl").write_text(lines[0])
    draft(texts, model, tokenizer, tmp_path / "broken.jsonl")
    assert (tmp_path / "broken.jsonl").read_text().splitlines(keepends=True)[0] == lines[0]
    resumed = [json.loads(line)["evidence"] for line in (tmp_path / "broken.jsonl").read_text().splitlines()]
    assert resumed == texts
