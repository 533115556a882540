"""How files of weights are called: the one list of their suffixes."""

from __future__ import annotations

from pathlib import Path

SAFETENSORS = ".safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")  # what torch.save writes
READ = (SAFETENSORS, *PICKLES)  # what a model can be opened from
HUB = (SAFETENSORS, ".bin")  # what a Hugging Face folder keeps its weights in
_OTHERS = (".gguf", ".h5", ".msgpack", ".onnx", ".ot")  # of formats that are neither read nor written here


def is_weights(path: Path) -> bool:
    """Whether a file is one of weights, by its name, in any format.

    Example:
        >>> is_weights(Path("model.SafeTensors")), is_weights(Path("m.gguf")), is_weights(Path("llama-3.1"))
        (True, True, False)
    """
    return path.suffix.lower() in (*READ, *_OTHERS)
