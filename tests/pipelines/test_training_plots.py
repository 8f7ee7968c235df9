import json
import xml.etree.ElementTree as ET
from pathlib import Path

from pipelines.plots import Course, courses, standalone
from pipelines.training_plots import plot_metrics


def _lines(path: Path) -> dict[str, list[list[float]]]:
    """The points of each line of a plot, by what stands at its end."""
    root = ET.fromstring(path.read_text())
    names = [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text") if e.get("class") == "point"]
    drawn = [e.get("points") or "" for e in root.iter("{http://www.w3.org/2000/svg}polyline")]
    return {
        name: [[float(number) for number in pair.split(",")] for pair in points.split()]
        for name, points in zip(names, drawn, strict=True)
    }


def test_metrics_are_drawn_and_a_step_that_was_done_twice_counts_once(tmp_path: Path) -> None:
    rows = [{"step": step, "loss": 4.0 - step / 20, "read": 1.0} for step in range(1, 41)]
    rows.append({"step": 40, "loss": 8.0, "held_out_f1": 0.25})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plot_metrics(tmp_path)
    losses, held_out = _lines(tmp_path / "losses.svg"), _lines(tmp_path / "held_out.svg")
    assert losses.keys() == {"loss", "read"}
    assert [x for x, _ in losses["loss"]] == [344.3, 1000.0]  # the means of steps 1-20 and 21-40
    assert losses["loss"][0][1] < losses["read"][0][1]  # higher up
    assert list(held_out) == ["held_out_f1"]


def test_lines_start_at_zero_and_end_at_the_top(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text(standalone(courses([Course("a < b", [(0, 0), (5, 2), (10, 1)])], "t", "step")))
    assert _lines(tmp_path / "a.svg")["a < b"] == [[0, 252], [500, 12], [1000, 132]]


def test_a_run_without_metrics_has_no_plots(tmp_path: Path) -> None:
    plot_metrics(tmp_path)
    assert not list(tmp_path.iterdir())
