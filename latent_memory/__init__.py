"""One token per evidence: compressor → LanceDB → answers."""

from latent_memory.answers import Answer, Evidence
from latent_memory.compression import compress
from latent_memory.memory import LatentMemory

__all__ = ["Answer", "Evidence", "LatentMemory", "compress"]
