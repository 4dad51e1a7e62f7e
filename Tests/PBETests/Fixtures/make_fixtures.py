"""Makes the small checkpoints that the tests read: python make_fixtures.py (torch, numpy, safetensors)."""
import collections
import os
import pathlib
import sys
import warnings
import zipfile

import numpy
import safetensors.torch
import torch

here = pathlib.Path(__file__).resolve().parent
warnings.simplefilter("ignore")
# The old format records the path of a pickled class's source file: keep the machine out of it.
os.chdir(here)
sys.modules["__main__"].__file__ = "make_fixtures.py"


def numbers(count, dtype=torch.float32):
    return (torch.arange(count, dtype=torch.float64) / 8 - 0.25).to(dtype)


def state():
    weight = numbers(6).reshape(2, 3)
    entries = [
        ("float32", weight),
        ("tied", weight),
        ("float64", numbers(2, torch.float64)),
        ("float16", numbers(4, torch.float16)),
        ("bfloat16", numbers(4, torch.bfloat16)),
        ("int64", torch.tensor(7)),
        ("int32", torch.arange(-2, 2, dtype=torch.int32)),
        ("int16", torch.arange(-2, 2, dtype=torch.int16)),
        ("int8", torch.arange(-2, 2, dtype=torch.int8)),
        ("uint8", torch.arange(4, dtype=torch.uint8)),
        ("bool", torch.tensor([True, False])),
        ("transposed", numbers(6).reshape(2, 3).t()),
        ("sliced", numbers(10)[2:7:2]),
        ("expanded", torch.tensor(2.5).expand(2, 2)),
        ("channels_last", numbers(8).reshape(1, 2, 2, 2).contiguous(memory_format=torch.channels_last)),
        ("empty", torch.zeros(0, 3)),
        ("parameter", torch.nn.Parameter(numbers(3))),
    ]
    dictionary = collections.OrderedDict(("module." + name, tensor) for name, tensor in entries)
    dictionary._metadata = {"": {"version": 1}}
    return dictionary


class Tiny(torch.nn.Module):
    """A network, to be pickled whole."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(numbers(2))


parameter = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
parameter.sum().backward()
optimizer.step()
checkpoint = {
    "epoch": 3, "state_dict": state(), "optimizer": optimizer.state_dict(), "best": numpy.float64(0.5),
    "history": [1.5, None, (True, "x")], "size": torch.Size([1, 2]), "device": torch.device("cpu"),
    "type": torch.float32, "large": 2**80, "bytes": b"\x00\xff", "set": {1, 2},
}
torch.save(checkpoint, here / "checkpoint.pth")
torch.save(checkpoint, here / "checkpoint-old.pth", _use_new_zipfile_serialization=False)
torch.save(checkpoint, here / "checkpoint-protocol4.pth", pickle_protocol=4)
torch.save(Tiny(), here / "module.pth")
torch.save(Tiny(), here / "module-old.pth", _use_new_zipfile_serialization=False)
with zipfile.ZipFile(here / "checkpoint.pth") as source:
    with zipfile.ZipFile(here / "checkpoint-deflated.pth", "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            member = zipfile.ZipInfo(item.filename)
            member.compress_type = zipfile.ZIP_DEFLATED
            with target.open(member, "w", force_zip64=True) as stream:
                stream.write(source.read(item))
tensors = {name[7:]: tensor.detach().clone().contiguous() for name, tensor in state().items()}
safetensors.torch.save_file(tensors, here / "model.safetensors", metadata={"format": "pt", "note": "\"quoted\" é"})

# WaNet's trigger, in float64: an image that is not square, and a field that leaves the image.
generator = torch.Generator().manual_seed(1)
size, strength, height, width = 4, 3.0, 12, 9
shifts = torch.rand(1, 2, size, size, generator=generator) * 2 - 1
control = (shifts / shifts.abs().mean()).double()
images = torch.rand(2, 3, height, width, generator=generator).double()
grown = torch.nn.functional.interpolate(control, (height, width), mode="bicubic", align_corners=True)
rows, columns = torch.meshgrid(
    torch.linspace(-1, 1, height).double(), torch.linspace(-1, 1, width).double(), indexing="ij")
field = (torch.stack((columns, rows))[None] + strength * grown / height).clamp(-1, 1)
warped = torch.nn.functional.grid_sample(images, field.permute(0, 2, 3, 1).repeat(2, 1, 1, 1), align_corners=True)
safetensors.torch.save_file(
    {key: value.float().contiguous() for key, value in
     dict(control=control, x=images, field=field, y=warped).items()}, here / "wanet.safetensors")
