"""Synthesis: what a small model writes from real pages, what each gate drops of it, and how well gates tell.

    python benchmarks/synthesis.py --cache DIR           # hours of one core for 50 pages; a second run reads the cache
    python benchmarks/synthesis.py --only gates judge    # parts alone; the others' figures stay as they are

`families`: written from pages of Debian's handbook, of LibreOffice's help and of Python's documentation (`general`),
and from pages of SageMath's documentation with formulas (`maths`), fetched with apt-get once. One text of each family
is asked for of each page, its variant drawn by the page's id, and a passage of a textbook of one point of each list of
knowledge that was kept. A drop is counted for the gate that failed first. `alignment`: pairs and tasks of the
questions that were kept.

`gates`: how well the gates that need no model tell faithful texts from others, on what people wrote: the questions
and answers of XQuAD (`../shared/data/qa`), held to the title of their article and their own paragraph, to another
paragraph of it, and to their own after one number or name in them was exchanged for one that only the other paragraph
has. `judge`: the same two paragraphs before the judge of `synthesise`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import debian
import numpy as np
import pyarrow as pa
import record

from tiers.document import documents
from tiers.l0_raw.html.stage import ExtractHtml
from tiers.l2_scored.agreement import auc
from tiers.l2_scored.annotate import judged
from tiers.l2_scored.rubric import AnswerRubric
from tiers.l3_edited.synthesis import gates, grounding
from tiers.l3_edited.synthesis.checkable_tasks import CheckableTasks
from tiers.l3_edited.synthesis.families import load_family, load_prompts
from tiers.l3_edited.synthesis.maths_answers import MathsAnswers
from tiers.l3_edited.synthesis.preference_pairs import PreferencePairs
from tiers.l3_edited.synthesis.products import Draft
from tiers.l3_edited.synthesis.synthesise import People, Synthesise
from tiers.llm import LLM, Request, Result, open_llm, quoted
from tiers.llm.models import default_models
from tiers.stage import Outcome, check_outcome

SOURCES = {"general": ("debian-handbook", "libreoffice-help-en-us", "python3.11-doc"), "maths": ("sagemath-doc",)}
FORMULAS = {"general": 0, "maths": 6}
FAMILIES = ("qa", "conversation", "rewrite", "knowledge", "textbook")
EXCERPT, MOST_TOKENS = 1000, 320
XQUAD = record.SHARED / "qa" / "xquad.en.json.gz"


class Counting:
    """A language model that counts the tokens of its answers, from the cache or not."""

    def __init__(self, llm: LLM) -> None:
        self._llm, self.name = llm, llm.name
        self.requests = self.prompt_tokens = self.completion_tokens = 0

    def complete(self, requests: Sequence[Request]) -> list[Result]:
        """Answers every request, in order."""
        results = self._llm.complete(requests)
        self.requests += len(results)
        self.prompt_tokens += sum(result.prompt_tokens for result in results)
        self.completion_tokens += sum(result.completion_tokens for result in results)
        return results


def pages(domain: str, count: int) -> pa.Table:
    """`count` documents; those of maths have six dollar signs or more in what is read of them."""
    extract = ExtractHtml().extracting()
    rows: list[dict[str, Any]] = []
    for package in SOURCES[domain]:
        found: list[dict[str, Any]] = []
        every = [path for path in debian.pages(package) if package != "sagemath-doc" or "/en/" in str(path)]
        random.Random(package).shuffle(every)
        for path in every:
            page = extract(path.read_bytes(), None, None)
            if len(page.text) >= 1200 and page.text[:EXCERPT].count("$") >= FORMULAS[domain]:
                found.append({"text": page.text, "source": f"{package}/{path.name}", "title": page.title or None})
            if len(found) * len(SOURCES[domain]) >= count:
                break
        rows += found
    return documents(rows[:count])


def families(domain: str, table: pa.Table, llm: LLM) -> tuple[dict[str, Any], pa.Table]:
    """Figures of each family on the documents of one domain, and all rows at the end."""
    figures: dict[str, Any] = {}
    for family in FAMILIES:
        stage = Synthesise(family=family, domain=domain, share=1, excerpt_chars=EXCERPT, max_tokens=MOST_TOKENS)
        writer = Counting(llm)
        outcome = stage.synthesise(table, People(writer, writer))
        check_outcome(stage, table, outcome)
        figures[family] = counts(table, outcome, writer)
        table = outcome.kept
    return figures, table


def alignment(table: pa.Table, llm: LLM, small: LLM) -> dict[str, Any]:
    """Figures of the two stages that go on from questions that were kept."""
    maths, figures = MathsAnswers(), {}
    pairs, tasks = PreferencePairs(max_tokens=128, min_margin=0.25), CheckableTasks(rollouts=4, max_tokens=128)
    writers = [Counting(llm), Counting(small)]
    outcome = pairs.make(table, writers, writers[0], maths)
    figures[pairs.name] = counts(table, outcome, *writers)
    solver = Counting(llm)
    figures[tasks.name] = counts(table, tasks.make(table, solver, maths), solver)
    return figures


def counts(table: pa.Table, outcome: Outcome, *llms: Counting) -> dict[str, Any]:
    """Products asked for, whole ones of the right form, kept ones, drops by gate, requests and tokens."""
    dropped = Counter(outcome.dropped["reason"].to_pylist())
    asked = outcome.made.num_rows
    return {
        "asked": asked,
        "valid": asked - dropped["truncated"] - dropped["malformed"] - outcome.failed.num_rows,
        "kept": outcome.kept.num_rows - table.num_rows,
        "dropped": dict(dropped.most_common()),
        "failed": outcome.failed.num_rows,
        **{key: sum(getattr(llm, key) for llm in llms) for key in ("requests", "prompt_tokens", "completion_tokens")},
    }


def written_by_people() -> Iterator[tuple[dict[str, str], str, str]]:
    """A question with its answer, the paragraph that it is of, and another one of the same article."""
    for article in json.loads(gzip.decompress(XQUAD.read_bytes()))["data"]:
        paragraphs = article["paragraphs"]
        title = article["title"].replace("_", " ")
        shown = [f"{title}\n{paragraph['context']}" for paragraph in paragraphs]
        for number, paragraph in enumerate(paragraphs):
            for pair in paragraph["qas"]:
                content = {"question": pair["question"], "answer": pair["answers"][0]["text"]}
                yield content, shown[number], shown[(number + 1) % len(shown)]


def exchanged(content: dict[str, str], own: str, other: str, rng: random.Random) -> dict[str, str] | None:
    """The same with a number or name of it exchanged for one that only the other paragraph has, if it has any."""
    marks = re.compile(r"\b\d[\d.,]*\d\b|(?<=[a-z] )[A-Z][a-z]{2,}")
    foreign = [mark for mark in marks.findall(other) if mark not in own]
    places = [(key, found) for key, text in content.items() for found in marks.finditer(text)]
    rng.shuffle(places)
    for key, found in places:
        alike = [mark for mark in foreign if mark[0].isdigit() == found[0][0].isdigit()]
        if alike:
            text = content[key]
            return {**content, key: text[: found.start()] + rng.choice(alike) + text[found.end() :]}
    return None


def gate_figures() -> dict[str, Any]:
    """The share that each gate drops, of texts that are faithful and of texts that aren't."""
    domain, rng = load_family("qa").domains["general"], random.Random(0)
    trios = list(written_by_people())
    swapped = [(exchanged(*trio, rng), trio[1]) for trio in trios]
    sets = {
        "own paragraph": [(content, own) for content, own, _ in trios],
        "own paragraph, one number or name exchanged": [(content, own) for content, own in swapped if content],
        "another paragraph of the article": [(content, other) for content, _, other in trios],
    }
    result: dict[str, Any] = {}
    for name, texts in sets.items():
        found: Counter[str] = Counter()
        for content, source in texts:
            draft = Draft("", 0, "", content)
            failed = {
                "new_numbers": gates.new_numbers(draft, source, domain.max_new_numbers),
                "new_names": gates.new_names(draft, source, domain.max_new_names),
                "ungrounded": gates.ungrounded(draft, source, domain.min_coverage),
            }
            found.update(gate for gate, detail in failed.items() if detail)
            found["any"] += any(failed.values())
        dropped = {
            gate: round(found[gate] / len(texts), 4) for gate in ("new_numbers", "new_names", "ungrounded", "any")
        }
        result[name] = {"texts": len(texts), "dropped": dropped}
    own, _, other = ([grounding.coverage(gates.prose(c), s).value for c, s in texts] for texts in sets.values())
    result["coverage_auc"] = _auc(own, other)
    return result


def judge_figures(llm: LLM, count: int = 100) -> dict[str, Any]:
    """How the judge rates texts against their own paragraph and against another one."""
    some = random.Random(0).sample(list(written_by_people()), count)
    rubric = AnswerRubric.model_validate(load_prompts("faithful"))
    both = [
        f"{quoted(source, 'source')}\n\n{quoted(gates.prose(content), 'text')}"
        for texts in ([(content, own) for content, own, _ in some], [(content, other) for content, _, other in some])
        for content, source in texts
    ]
    verdicts, _ = judged(llm, rubric, both)
    values = [verdict.overall for verdict in verdicts if not isinstance(verdict, str)]
    own, other = values[:count], values[count:]
    return {
        "texts": count,
        "auc": _auc(own, other),
        "own_paragraph_dropped_at_0.5": round(float(np.mean(np.array(own) < 0.5)), 4),
        "other_paragraph_dropped_at_0.5": round(float(np.mean(np.array(other) < 0.5)), 4),
    }


def _auc(own: Sequence[float], other: Sequence[float]) -> float:
    truth = np.repeat([True, False], [len(own), len(other)])
    return round(auc(np.array([*own, *other]), truth), 4)


def show(result: dict[str, Any]) -> None:
    for domain in result.get("families", {}):
        figures = result["families"][domain] | result["alignment"].get(domain, {})
        rows = [
            (
                name,
                row["asked"],
                row["valid"],
                row["kept"],
                ", ".join(f"{n} {gate}" for gate, n in row["dropped"].items()),
            )
            for name, row in figures.items()
        ]
        record.print_table(domain, ("family", "asked", "valid", "kept", "dropped by"), rows)
    if "gates" in result:
        columns = ("new_numbers", "new_names", "ungrounded", "any")
        rows = [
            (name, row["texts"], *(row["dropped"][column] for column in columns))
            for name, row in result["gates"].items()
            if isinstance(row, dict)
        ]
        record.print_table("Shares dropped of what people wrote, held to …", ("source", "texts", *columns), rows)
        print("AUC of coverage:", result["gates"]["coverage_auc"])
    if "judge" in result:
        print("judge:", json.dumps(result["judge"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, nargs=2, default=(38, 12), help="of each domain")
    parser.add_argument("--llm", default="qwen2.5-coder-0.5b")
    parser.add_argument("--cache", type=Path, help="folder of answers, to go on after an interruption")
    parser.add_argument("--only", nargs="*", choices=("families", "gates", "judge"))
    arguments = parser.parse_args()
    parts = arguments.only or ("gates", "judge", "families")
    path = record.RESULTS / "synthesis.json"
    before: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"result": {}, "corpus": {}}
    result, corpus = before["result"], before["corpus"]
    llm = open_llm(arguments.llm, default_models(), arguments.cache)
    if "gates" in parts and XQUAD.exists():
        result["gates"] = gate_figures()
    if "judge" in parts and XQUAD.exists():
        result["judge"] = {"llm": arguments.llm, **judge_figures(llm)}
    if "families" in parts:
        small, rows = open_llm("smollm2-135m", default_models(), arguments.cache), {}
        result["llm"], result["families"], result["alignment"] = arguments.llm, {}, {}
        for domain, count in zip(SOURCES, arguments.documents, strict=True):
            table = pages(domain, count)
            corpus[domain] = {"documents": table.num_rows, "sha256": record.hash_texts(table["text"].to_pylist())}
            result["families"][domain], rows[domain] = families(domain, table, llm)
        for domain, table in rows.items():
            result["alignment"][domain] = alignment(table, llm, small)
    show(result)
    packages = ("jsonschema", "math-verify", "torch", "transformers")
    written = record.write_result("synthesis", result, packages, corpus)
    print(f"wrote {written.relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
