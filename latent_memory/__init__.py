"""One token per evidence: compressor → LanceDB → answers."""

from latent_memory.answers import Answer, Evidence
from latent_memory.memory import LatentMemory, compress

__all__ = ["Answer", "Evidence", "LatentMemory", "compress"]
