"""Questions with their gold evidence, and sentences to compress, out of public question answering sets.

Evidence is sentence-sized: the sentence that contains the answer, with the title of its passage where the set gives
one. A question whose answer stands in no single sentence is left out.
"""

from __future__ import annotations

import ast
import gzip
import importlib.util
import json
import pkgutil
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from latent_memory import claims, easy_vqa, qamr
from tiers.errors import SourceError

Form = Literal[
    "squad",
    "qed",
    "hotpotqa",
    "2wiki",
    "musique",
    "pubmedqa",
    "strategyqa",
    "nq-open",
    "qamr",
    "claims",
    "easy-vqa",
    "pairs",
]

_SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9À-Þ])|(?<=[。！？])|\n\s*\n")
_WORD = re.compile(r"\w+(?:[-'’.,]\w+)*")
_STOP = frozenset(
    "a an the and or of in on at to for from by with as is are was were be been has have had it its this that these "
    "those he she they his her their not but which who whom whose what when where how than then there also can could "
    "may might will would should must do does did such into over under between during after before about only no if "
    "we you i our your all any each other some most more many much very one".split()
)


POLAR = frozenset({"yes", "no", "maybe"})


@dataclass(frozen=True)
class Question:
    """A question, its accepted answers and the evidence that answers it.

    Attributes:
        text: The question.
        answers: Accepted answers; the first one is trained on.
        evidence: Gold evidence, one text for each latent; none where the set gives none.
        pool: Every sentence of the passages that the set gives with the question, the gold ones among them.
    """

    text: str
    answers: tuple[str, ...]
    evidence: tuple[str, ...]
    pool: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def answered_in(self, lowered: str) -> bool:
        """Whether a text, given in lower case, holds the first answer; no text holds a yes or no."""
        answer = self.answers[0].lower()
        return answer not in POLAR and answer in lowered


def sentences(text: str) -> list[tuple[int, str]]:
    """Splits prose at sentence ends; returns (offset, sentence) pairs without surrounding blanks."""
    found: list[tuple[int, str]] = []
    start = 0
    for end in [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]:
        piece = text[start:end]
        if piece.strip():
            found.append((start + len(piece) - len(piece.lstrip()), piece.strip()))
        start = end
    return found


def _sentence_with(text: str, offset: int, answer: str) -> str | None:
    for start, sentence in sentences(text):
        if start <= offset < start + len(sentence):
            return sentence if answer.strip() in sentence else None
    return None


def _load(path: Path) -> Any:
    """What is in a JSON or JSON lines file, plain or gzip.

    Raises:
        SourceError: when it is missing or damaged, with the place.
    """
    if not path.is_file():
        raise SourceError("a data file is missing", where=str(path), hint="Give its folder in the recipe's `data`")
    number = 0
    try:
        raw = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
        with raw as stream:
            if ".jsonl" not in path.name:
                return json.load(stream)
            rows: list[Any] = []
            for line in stream:
                number += 1
                rows += [json.loads(line)] if line.strip() else []
            return rows
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SourceError("a data file can't be read", where=str(path), got=str(error)) from error
    except json.JSONDecodeError as error:
        raise SourceError(
            "a data file isn't JSON",
            where=f"{path}, line {number or error.lineno}",
            got=error.msg,
            expected="one JSON value a line" if number else "one JSON value",
            hint="JSON lines are read from files named .jsonl or .jsonlines, with .gz behind it or not",
        ) from error


def _squad(article: Any) -> Iterator[Question]:
    for paragraph in article["paragraphs"]:
        pool = tuple(dict.fromkeys(sentence for _, sentence in sentences(paragraph["context"])))
        for qa in paragraph["qas"]:
            answers = [a for a in qa["answers"] if a["text"].strip()]
            if not answers:
                continue
            first = answers[0]
            gold = _sentence_with(paragraph["context"], first["answer_start"], first["text"])
            if gold:
                texts = tuple(dict.fromkeys(a["text"].strip() for a in answers))
                yield Question(qa["question"].strip(), texts, (gold,), pool)


def _qed(row: Any) -> Iterator[Question]:
    spans = [span for answer in row["original_nq_answers"] for span in answer]
    if not spans:
        return
    shortest = min(spans, key=lambda span: len(span["string"]))
    title, text, offset = row["title_text"], row["paragraph_text"], shortest["start"]
    parts = [(begin, text[begin:end]) for begin, end in pairwise([*row["sentence_starts"], len(text)])]
    pool = tuple(f"{title}: {part.strip()}" for _, part in parts if part.strip())
    for begin, part in parts:
        if begin <= offset < begin + len(part) and shortest["string"] in part:
            answers = tuple(dict.fromkeys([shortest["string"], *(span["string"] for span in spans)]))
            yield Question(row["question_text"], answers, (f"{title}: {part.strip()}",), pool)
            break


def _hotpotqa(row: Any) -> Iterator[Question]:
    passages = dict(row["context"])
    gold = [
        f"{title}: {passages[title][number].strip()}"
        for title, number in row["supporting_facts"]
        if title in passages and number < len(passages[title])
    ]
    pool = (f"{title}: {part.strip()}" for title, parts in passages.items() for part in parts if part.strip())
    if gold:
        yield Question(row["question"], (row["answer"],), tuple(dict.fromkeys(gold)), tuple(dict.fromkeys(pool)))


def _musique(row: Any) -> Iterator[Question]:
    if not row.get("answerable", True):
        return
    gold = []
    for hop in row["question_decomposition"]:
        paragraph = row["paragraphs"][hop["paragraph_support_idx"]]
        text, answer = paragraph["paragraph_text"], hop["answer"]
        holding = [s for _, s in sentences(text) if answer.lower() in s.lower()]
        gold.append(f"{paragraph['title']}: {(holding or [sentences(text)[0][1]])[0]}")
    pool = (f"{p['title']}: {s}" for p in row["paragraphs"] for _, s in sentences(p["paragraph_text"]))
    answers = (row["answer"], *row["answer_aliases"])
    yield Question(row["question"], answers, tuple(dict.fromkeys(gold)), tuple(dict.fromkeys(pool)))


def _pubmedqa(row: Any) -> Iterator[Question]:
    conclusion = sentences(row["LONG_ANSWER"])
    if conclusion:
        yield Question(row["QUESTION"], (row["final_decision"],), (conclusion[0][1],))


def _strategyqa(row: Any) -> Iterator[Question]:
    if row["facts"]:
        yield Question(row["question"], ("yes" if row["answer"] else "no",), tuple(row["facts"]), tuple(row["facts"]))


def _nq_open(row: Any) -> Iterator[Question]:
    """A question and its answers, without evidence (Lee et al., ACL 2019)."""
    yield Question(row["question"], tuple(dict.fromkeys(row["answer"])), ())


def _qamr(row: Any) -> Iterator[Question]:
    for qa in row["qas"]:
        yield Question(qa["question"], (qa["answer"],), (row["text"],), (row["text"],))


def _claim(row: Any) -> Iterator[Question]:
    if row["question"]:
        yield Question(row["question"], (row["answer"],), (row["evidence"],), (row["evidence"],))


def _pairs(row: Any) -> Iterator[Question]:
    """A question with `answer` and `evidence`, one text or a list of them each."""
    answers, evidence = ([part] if isinstance(part, str) else part for part in (row["answer"], row["evidence"]))
    if row["question"]:
        yield Question(row["question"], tuple(answers), tuple(evidence), tuple(evidence))


def _easy_vqa(row: Any) -> Iterator[Question]:
    yield Question(row["question"], (row["answer"],), (row["caption"],))


_READERS: dict[Form, Callable[[Any], Iterator[Question]]] = {
    "squad": _squad,
    "qed": _qed,
    "hotpotqa": _hotpotqa,
    "2wiki": _hotpotqa,  # 2WikiMultihopQA (Ho et al., COLING 2020) has HotpotQA's layout
    "musique": _musique,
    "pubmedqa": _pubmedqa,
    "strategyqa": _strategyqa,
    "nq-open": _nq_open,
    "qamr": _qamr,
    "claims": _claim,
    "easy-vqa": _easy_vqa,
    "pairs": _pairs,
}


def _rows(path: Path, form: Form, first: int, last: int | None) -> list[Any]:
    """The articles (SQuAD form) or rows of a set."""
    if form == "qamr":
        return qamr.read_rows(path)[first:last]
    if form == "claims":
        return claims.read_rows(path)[first:last]
    if form == "easy-vqa":
        return easy_vqa.read_captioned(path)[first:last]
    data = _load(path)
    container = {"squad": dict, "pubmedqa": dict}.get(form, list)
    rows = data.get("data") if form == "squad" and isinstance(data, dict) else data
    if not isinstance(data, container) or rows is None:
        expected = 'an object with "data"' if form == "squad" else "an object" if container is dict else "a list"
        raise SourceError("a data file has another form", where=str(path), got=type(data).__name__, expected=expected)
    return (list(rows.values()) if isinstance(rows, dict) else rows)[first:last]


def read_questions(path: Path, form: Form, first: int = 0, last: int | None = None) -> list[Question]:
    """Reads a question answering set.

    Args:
        path: JSON or JSON lines, plain or gzip.
        form: Its layout.
        first: First article (SQuAD form) or row that is read.
        last: Where reading stops, exclusive; the end of the file by default.

    Raises:
        SourceError: when the file is missing, damaged or of another form, with the row.
    """
    found: list[Question] = []
    for number, row in enumerate(_rows(path, form, first, last), first):
        try:
            found += _READERS[form](row)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(
                f"a row isn't of the form {form}", where=f"{path}, row {number}", got=f"{type(error).__name__}: {error}"
            ) from error
    return found


def read_drafted(path: Path) -> list[Question]:
    """Reads the questions that `drafting.draft` wrote."""
    with path.open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    return [Question(r["question"], (r["answer"],), (r["evidence"],)) for r in rows if r["question"]]


def read_sentences(path: Path, form: Form, first: int = 0, last: int | None = None, titles: bool = False) -> list[str]:
    """Every sentence of the passages of a set, duplicates removed, in order.

    Args:
        path: As for `read_questions`, like `form`, `first` and `last`.
        form: Its layout.
        first: First article or row.
        last: End, exclusive.
        titles: Whether to put the passage's title in front, as gold evidence has it.
    """
    found = (
        f"{title}: {sentence}" if titles and title else sentence
        for row in _rows(path, form, first, last)
        for title, passage in _passages(row, form)
        for _, sentence in sentences(passage)
    )
    return list(dict.fromkeys(found))


def _passages(row: Any, form: Form) -> Iterator[tuple[str, str]]:
    """(title, text) of the passages of a row; sets without titles give an empty one."""
    match form:
        case "squad":
            yield from (("", paragraph["context"]) for paragraph in row["paragraphs"])
        case "qamr":
            yield "", row["text"]
        case "claims":
            yield "", row["evidence"]
        case "easy-vqa" | "pairs":
            yield from (("", text) for question in _READERS[form](row) for text in question.evidence)
        case "qed":
            yield row["title_text"], row["paragraph_text"]
        case "pubmedqa":
            yield from (("", text) for text in [*row["CONTEXTS"], row["LONG_ANSWER"]])
        case "strategyqa":
            yield from (("", fact) for fact in row["facts"])
        case "hotpotqa" | "2wiki":
            yield from ((title, " ".join(s.strip() for s in parts)) for title, parts in row["context"])
        case "musique":
            yield from ((paragraph["title"], paragraph["paragraph_text"]) for paragraph in row["paragraphs"])


def read_passages(path: Path) -> list[str]:
    """Every sentence of a corpus of passages, duplicates removed, in order; under its passage's title where it has one.

    Args:
        path: JSON or JSON lines, plain or gzip: objects with `text` and perhaps `title`, or one object from titles to
            texts or lists of sentences.

    Raises:
        SourceError: when the file is missing, damaged or of another form, with the row.
    """
    data = _load(path)
    rows = [{"title": title, "text": text} for title, text in data.items()] if isinstance(data, dict) else data
    found: list[str] = []
    for number, row in enumerate(rows):
        try:
            title, text = row.get("title") or "", row["text"]
            parts = [s for _, s in sentences(text)] if isinstance(text, str) else [s.strip() for s in text if s.strip()]
        except (KeyError, TypeError, AttributeError) as error:
            expected = "an object with `text`, and perhaps `title`"
            raise SourceError(
                "a row isn't a passage", where=f"{path}, row {number}", got=repr(row)[:60], expected=expected
            ) from error
        found += [f"{title}: {part}" if title else part for part in parts]
    return list(dict.fromkeys(found))


def python_sentences() -> list[str]:
    """Sentences of the running Python's own documentation: `pydoc` topics and module docstrings, in name order."""
    from pydoc_data import topics

    texts = [topics.topics[name] for name in sorted(topics.topics)]
    for module in sorted(m.name for m in pkgutil.iter_modules() if m.name in _STANDARD_MODULES):
        texts.append(_docstrings(module))
    found = (" ".join(s.split()) for text in texts for _, s in sentences(text))
    return list(dict.fromkeys(s for s in found if _looks_like_prose(s)))


_STANDARD_MODULES = frozenset(
    "argparse ast asyncio base64 bisect calendar cmd code codecs collections configparser contextlib copy csv "
    "dataclasses datetime decimal difflib dis doctest email enum filecmp fractions ftplib functools gettext "
    "glob gzip hashlib heapq html http imaplib inspect io ipaddress json keyword logging mailbox mimetypes "
    "numbers operator optparse os pathlib pickle platform pprint profile queue random re sched selectors "
    "shelve shlex shutil signal smtplib socket sqlite3 statistics string subprocess tarfile tempfile textwrap "
    "threading timeit tokenize traceback types typing unittest urllib uuid warnings weakref xml zipfile".split()
)


def _docstrings(module: str) -> str:
    """Docstrings of a module's source, read without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, nodes))
    return "\n\n".join(text for text in found if text)


def _looks_like_prose(sentence: str) -> bool:
    words = sentence.split()
    letters = sum(c.isalpha() or c == " " for c in sentence)
    return 5 <= len(words) <= 60 and letters >= 0.8 * len(sentence)


def cloze(sentence: str, rng: random.Random, window: int = 5) -> Question | None:
    """A question made from a sentence alone: a content word or name becomes the answer, a wh-word takes its place.

    Noisy cloze translation after Lewis, Denoyer and Riedel, "Unsupervised Question Answering by Cloze Translation"
    (ACL 2019, section 2.3), with regular expressions in place of their named entity tagger. The question shows at most
    `window` words on one or both sides, so that a reader needs the evidence.

    Returns:
        The question, or None where the sentence has no word worth asking for.
    """
    words = list(_WORD.finditer(sentence))
    spans = _answer_spans(sentence, words)
    if not spans:
        return None
    begin, end = rng.choice(spans)
    answer = sentence[words[begin].start() : words[end - 1].end()]
    left = max(0, begin - rng.randint(2, window))
    right = min(len(words), end + rng.randint(2, window))
    before = sentence[words[left].start() : words[begin].start()].strip()
    after = sentence[words[end - 1].end() : words[right - 1].end()].strip(" ,;:")
    asked = _wh_word(answer)
    if rng.random() < 0.5 and after:
        text = f"{asked} {after} {before}"
    else:
        text = f"{before} {asked.lower()} {after}"
    return Question(" ".join(text.split()).rstrip(" ,;:.") + "?", (answer,), (sentence,))


def _answer_spans(sentence: str, words: list[re.Match[str]]) -> list[tuple[int, int]]:
    """Word ranges that may be asked for: numbers, runs of capitalised words, and pairs or single content words."""
    spans: list[tuple[int, int]] = []
    index = 0
    while index < len(words):
        token = words[index].group()
        if token[0].isdigit():
            spans += [(index, index + 1)] * 3
        elif token[0].isupper() and token.lower() not in _STOP and index > 0:
            end = index + 1
            while (
                end < len(words)
                and words[end].group()[0].isupper()
                and end - index < 4
                and (sentence[words[end - 1].end() : words[end].start()] == " ")
            ):
                end += 1
            spans += [(index, end)] * 3
            index = end - 1
        elif len(token) > 4 and token.lower() not in _STOP:
            spans.append((index, index + 1))
            follows = words[index + 1].group() if index + 1 < len(words) else ""
            if len(follows) > 3 and follows.lower() not in _STOP:
                spans.append((index, index + 2))
        index += 1
    return spans


def _wh_word(answer: str) -> str:
    if re.fullmatch(r"1\d\d\d|20\d\d", answer):
        return "When"
    if answer[0].isdigit():
        return "How many"
    return "Who or what" if answer[0].isupper() else "What"
