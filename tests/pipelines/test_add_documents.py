from pathlib import Path

import numpy as np
import pytest

from pipelines.add_documents import add_files
from tiers.errors import ModelError, SourceError

Image = pytest.importorskip("PIL.Image")


def test_an_image_needs_a_tower_and_a_file(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ModelError, match="no vision tower"):
        add_files(str(tmp_path / "memory"), [str(tmp_path / "a.png")], vision=tmp_path / "tower")
    with pytest.raises(SourceError, match="isn't a file here"):
        add_files(str(tmp_path / "memory"), [str(tmp_path / "gone.png")], vision=tmp_path / "tower")
