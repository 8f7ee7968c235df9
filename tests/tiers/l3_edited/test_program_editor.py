from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tiers.document import check_schema, documents
from tiers.l3_edited.edit_program import RemoveLines, parse_program, program_schema
from tiers.l3_edited.program_editor import EditByProgram
from tiers.llm.openai_server import OpenAIServer
from tiers.llm.transformers_llm import TransformersLLM
from tiers.stage import check_outcome


@dataclass
class Expert:
    """A chat server that removes lines about cookies, mends "teh", and inserts a line before the first chapter."""

    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)

    def reply(self, payload: dict[str, Any]) -> tuple[str, str]:
        self.seen.append(payload)
        shown = payload["messages"][-1]["content"]
        lines = [(int(n), line) for n, line in re.findall(r"^(\d+): (.*)$", shown, re.MULTILINE)]
        if all("spam" in line for _, line in lines):
            return '[{"op":"remove_all"}]', "stop"
        if any("riddle" in line for _, line in lines):
            return "I'd rather talk about the riddle.", "stop"
        if any("saga" in line for _, line in lines):
            return '[{"op":"remove_lines","start":1', "length"
        program: list[dict[str, Any]] = []
        for number, line in lines:
            if "cookies" in line:
                program.append({"op": "remove_lines", "start": number, "end": number})
            if "teh" in line:
                program.append({"op": "replace", "line": number, "old": "teh", "new": "the"})
            if line == "Chapter":
                program.append({"op": "insert_lines", "after": number - 1, "lines": ["Part", ""]})
        return json.dumps(program or [{"op": "keep_all"}]), "stop"


class Handler(BaseHTTPRequestHandler):
    expert: Expert

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content, finish = self.expert.reply(payload)
        body = json.dumps({"choices": [{"message": {"content": content}, "finish_reason": finish}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def expert() -> Iterator[Expert]:
    expert = Expert()
    handler = type("ExpertHandler", (Handler,), {"expert": expert})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        expert.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield expert
        server.shutdown()
        thread.join()


BODY = [f"Sentence number {number} of a text that is long enough to be kept." for number in range(1, 9)]
PAGE = "\n".join(["Chapter", *BODY[:4], "", "It ends with teh word.", "We use cookies."])


def edit(expert: Expert, texts: list[str], **parameters: Any):
    stage = EditByProgram(llm=f"openai:expert@{expert.url}", **parameters)
    table = documents([{"text": text, "source": str(number)} for number, text in enumerate(texts)])
    outcome = stage.edit(table, OpenAIServer("expert", expert.url))
    check_outcome(stage, table, outcome)
    check_schema(outcome.kept.schema, "edit_by_program")
    return outcome


def test_a_document_is_edited_as_the_model_says(expert: Expert):
    outcome = edit(expert, [PAGE, "Fine as it is."])
    rows = outcome.kept.to_pylist()
    assert rows[0]["text"] == "Part\n\n" + PAGE.replace("teh", "the").removesuffix("\nWe use cookies.")
    assert [row["edit.changed"] for row in rows] == [True, False]
    assert parse_program(rows[0]["edit.operations"])[-1] == RemoveLines(start=8, end=8)
    assert rows[1]["edit.operations"] == '[{"op":"keep_all"}]'
    assert outcome.noted["reason"].to_pylist() == ["edited"]
    assert expert.seen[0]["response_format"]["json_schema"]["schema"] == program_schema()


def test_a_long_document_is_edited_in_windows_to_the_same_end(expert: Expert):
    long = "\n".join(["teh beginning", *BODY, "cookies", *BODY, "Chapter", *BODY, "cookies", "teh end"])
    whole = edit(expert, [long]).kept["text"].to_pylist()
    asked = len(expert.seen)
    assert edit(expert, [long], window=300).kept["text"].to_pylist() == whole
    assert len(expert.seen) - asked > 4
    assert "Part\n\nChapter" in whole[0]


def test_windows_without_a_program_that_holds_stay_and_say_why(expert: Expert):
    long = "\n".join([*BODY[:3], "cookies", "a riddle", *BODY, "cookies", "a saga", *BODY, "cookies"])
    outcome = edit(expert, [long, "x" * 500 + "\ncookies"], window=220, overlap=0)
    first, second = outcome.kept["text"].to_pylist()
    assert first == long.removesuffix("\ncookies")
    assert second == "x" * 500
    reasons = outcome.noted["reason"].to_pylist()
    assert reasons == [
        "edit_rejected.malformed",
        "edit_rejected.truncated",
        "edited",
        "edit_rejected.long_line",
        "edited",
    ]
    details = outcome.noted["detail"].to_pylist()
    assert re.fullmatch(r"window \d of \d+: .*", details[0])
    assert details[3] == "window 1 of 2: 500 > 220 characters"


def test_guards_bind_the_model(expert: Expert):
    text = "cookies " * 20 + "\nteh rest"
    outcome = edit(expert, [text])
    assert outcome.kept["text"].to_pylist() == [text]
    assert outcome.noted["reason"].to_pylist() == ["edit_rejected.deletes_too_much"]


def test_worthless_documents_go_only_where_that_is_wanted(expert: Expert):
    kept = edit(expert, ["spam\nspam", PAGE])
    assert kept.kept["text"].to_pylist()[0] == "spam\nspam"
    assert "edit_rejected.remove_all" in kept.noted["reason"].to_pylist()
    dropped = edit(expert, ["spam\nspam", PAGE], drop_worthless=True)
    assert dropped.dropped["reason"].to_pylist() == ["edit_dropped.remove_all"]
    assert dropped.kept.num_rows == 1


def test_a_model_that_is_not_there_sends_the_document_to_quarantine():
    stage = EditByProgram(llm="openai:nobody@http://127.0.0.1:9/v1")
    table = documents([{"text": PAGE, "source": "a"}])
    outcome = stage.edit(table, OpenAIServer("nobody", "http://127.0.0.1:9/v1", attempts=1))
    check_outcome(stage, table, outcome)
    assert outcome.failed["reason"].to_pylist() == ["model_failed"]


def test_a_model_that_talks_nonsense_changes_nothing(tiny_model: Path):
    stage = EditByProgram(llm=str(tiny_model), max_tokens=16)
    table = documents([{"text": "Home\n\nA page.", "source": "a"}])
    outcome = stage.edit(table, TransformersLLM(str(tiny_model), tiny_model.parent))
    check_outcome(stage, table, outcome)
    assert outcome.kept["text"].to_pylist() == table["text"].to_pylist()
    assert outcome.noted["reason"].to_pylist()[0] in {"edit_rejected.malformed", "edit_rejected.truncated"}
