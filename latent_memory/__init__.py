"""One token per evidence: compressor → LanceDB → answers."""

from latent_memory.memory import Answer, Evidence, LatentMemory, compress

__all__ = ["Answer", "Evidence", "LatentMemory", "compress"]
