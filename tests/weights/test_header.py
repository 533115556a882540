"""Headers: what the safetensors library writes is read, and what it refuses is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.header import Spec, make_header, read_header


def raw(header, data=b"", *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(begin, end, shape=(2,), dtype="F32", **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


TWICE = b'"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
MALFORMED = {
    "empty file": (b"", "header claims"),
    "seven bytes": (b"\0" * 7, "header claims"),
    "header length 0": (raw(b""), "header claims"),
    "header longer than the file": (raw({}, length=1000), "header claims 1,000 bytes"),
    "header of 2^63 bytes": (raw({}, length=2**63), "header claims"),
    "header above the limit": (raw({}, length=100_000_001), "header claims"),
    "not UTF-8": (raw(b"\xff\xfe{}"), "not JSON"),
    "not JSON": (raw(b"{,}"), "not JSON"),
    "half an object": (raw(b'{"w": '), "not JSON"),
    "a list": (raw(b"[]"), "not a JSON object"),
    "spaces before the object": (raw(b"  {}"), "not a JSON object"),
    "nested too deep": (raw(b"[" * 100_000), "not JSON"),
    "an entry that is a number": (raw({"w": 3}), "exactly dtype, shape"),
    "no dtype": (raw({"w": {"shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8), "exactly dtype, shape"),
    "a field too many": (raw({"w": entry(0, 8, extra=1)}, b"\0" * 8), "exactly dtype, shape"),
    "unknown dtype": (raw({"w": entry(0, 8, dtype="F33")}, b"\0" * 8), "unknown type 'F33'"),
    "dtype that is a list": (raw({"w": entry(0, 8, dtype=["F32"])}, b"\0" * 8), "unknown type"),
    "negative shape": (raw({"w": entry(0, 8, shape=(-2,))}, b"\0" * 8), "-2 in its shape"),
    "fractional shape": (raw({"w": entry(0, 8, shape=(2.0,))}, b"\0" * 8), "2.0 in its shape"),
    "boolean shape": (raw({"w": entry(0, 4, shape=(True,))}, b"\0" * 4), "True in its shape"),
    "overflowing shape": (raw({"w": entry(0, 8, shape=(2**62, 2**62))}, b"\0" * 8), "takes"),
    "three offsets": (raw({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}}), "exactly dtype"),
    "offsets backwards": (raw({"w": entry(8, 0)}, b"\0" * 8), "takes 8 bytes"),
    "wrong size": (raw({"w": entry(0, 4)}, b"\0" * 4), "takes 8 bytes, not 4"),
    "overlap": (raw({"a": entry(0, 8), "b": entry(4, 12)}, b"\0" * 12), "overlaps"),
    "same place twice": (raw({"a": entry(0, 8), "b": entry(0, 8)}, b"\0" * 8), "overlaps"),
    "hole": (raw({"a": entry(0, 8), "b": entry(12, 20)}, b"\0" * 20), "hole of 4"),
    "does not begin at 0": (raw({"a": entry(8, 16)}, b"\0" * 16), "hole of 8"),
    "truncated data": (raw({"w": entry(0, 8)}, b"\0" * 7), "the file has 7 for them"),
    "bytes at the end": (raw({"w": entry(0, 8)}, b"\0" * 9), "the file has 9 for them"),
    "a name twice": (raw(b"{%b,%b}" % (TWICE, TWICE), b"\0" * 8), "names 'w' twice"),
    "metadata with numbers": (raw({"__metadata__": {"a": 1}}), "__metadata__"),
    "metadata that is a list": (raw({"__metadata__": ["a"]}), "__metadata__"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(MALFORMED))
def test_malformed_headers_are_refused_and_explained(case, tmp_path):
    content, message = MALFORMED[case]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(FusionBenchError, match=message) as found:
        read_header(path)
    assert str(path) in str(found.value)


@pytest.mark.parametrize(
    "case", sorted(set(MALFORMED) - {"a name twice", "a field too many", "spaces before the object"})
)
def test_the_safetensors_library_refuses_these_too(case, tmp_path):
    """What is refused here and accepted there would be a file that others can read."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(MALFORMED[case][0])
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it raises
        load_file(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FusionBenchError, match="No such file"):
        read_header(tmp_path / "none.safetensors")


def test_files_of_the_library_are_read(tmp_path):
    state = {
        "w": torch.randn(3, 4),
        "b": torch.randn(3).bfloat16(),
        "n": torch.tensor(3),
        "e": torch.zeros(0, 2),
        "m": torch.tensor([True]),
        'quote "data_offsets" é': torch.ones(1),
    }
    path = tmp_path / "m.safetensors"
    save_file(state, path, metadata={"format": "pt"})
    header = read_header(path)
    data = path.read_bytes()
    assert header.metadata == {"format": "pt"}
    assert header.size == len(data)
    for name, tensor in state.items():
        spec, offset = header.specs[name], header.offsets[name]
        assert spec == Spec(tuple(tensor.shape), tensor.dtype)
        stored = torch.frombuffer(bytearray(data[offset : offset + spec.nbytes]) or bytearray(8), dtype=tensor.dtype)
        assert torch.equal(stored[: spec.numel].reshape(spec.shape), tensor)
    assert read_header(path, like=header) is header


def test_headers_made_here_are_read_by_the_library(tmp_path):
    specs = {"b": Spec((2,), torch.float32), "a": Spec((), torch.int64), "é": Spec((0,), torch.bool)}
    header = make_header(specs.items(), {"format": "pt"})
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header.raw).to_bytes(8, "little") + header.raw + b"\0" * (header.size - 8 - len(header.raw)))
    found = load_file(path)
    assert {name: Spec(tuple(t.shape), t.dtype) for name, t in found.items()} == specs
    assert read_header(path).offsets == header.offsets
