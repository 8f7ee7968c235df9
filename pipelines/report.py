"""A run as one page for people: what each tier holds, lost and cost, with examples."""

from __future__ import annotations

from pathlib import Path

from pipelines.artifact import Store
from pipelines.report_data import gather
from pipelines.report_page import render_page


def write_report(store: Store, out: Path | None = None) -> str:
    """Writes the report of a run, as one HTML file that needs nothing beside itself.

    The same run gives the same bytes.

    Args:
        store: The output of a run; an unfinished one will do.
        out: The file to write; by default report.html in the run's folder.

    Returns:
        Where the report lies.

    Raises:
        ArtifactError: there is no run, or a committed file is missing or damaged.
    """
    page = render_page(gather(store)).encode()
    if out is None:
        store.write("report.html", page)
        return store.path("report.html")
    Store(str(out.parent)).write(out.name, page)
    return str(out)
