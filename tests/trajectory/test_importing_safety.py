"""Files that want to run code, or are damaged: one clear line each, and nothing happens."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from landscape.errors import LandscapeError
from landscape.trajectory import import_checkpoints


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "boom"


def refusal(run: Path, file: Path, **options: Any) -> str:
    """The message, after checking that it is one line and that nothing was written."""
    with pytest.raises(LandscapeError) as caught:
        import_checkpoints(run, file, nn.Linear(2, 2), steps=[0], **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600, message
    assert not run.exists()
    return message


def state(extra: Any = None) -> dict[str, Any]:
    return dict(nn.Linear(2, 2).state_dict()) | ({} if extra is None else {"x": extra})


@pytest.mark.parametrize("form", ["zip", "legacy", "raw", "lightning", "folder", "sharded", "key"])
def test_code_in_a_checkpoint_is_not_run(run: Path, target: Path, tmp_path: Path, form: str) -> None:
    bomb, file, options = Bomb(target), tmp_path / "c1.pt", {}
    if form == "zip":
        torch.save(state(bomb), file)
    elif form == "legacy":
        torch.save(state(bomb), file, _use_new_zipfile_serialization=False)
    elif form == "raw":
        file.write_bytes(pickle.dumps(bomb, protocol=2))
    elif form == "lightning":
        file = tmp_path / "c1.ckpt"
        held = {"pytorch-lightning_version": "2.6.6", "state_dict": state(), "callbacks": {"a": [bomb]}}
        torch.save(held, file)
    elif form == "key":
        torch.save({"model": state(), "other": bomb}, file)
        options = {"key": "model"}
    else:
        file = tmp_path / "folder"
        file.mkdir()
        if form == "folder":
            torch.save(state(bomb), file / "pytorch_model.bin")
        else:
            torch.save(state(), file / "pytorch_model-1.bin")
            torch.save({"y": bomb}, file / "pytorch_model-2.bin")
            index = {"weight_map": {"weight": "pytorch_model-1.bin", "bias": "pytorch_model-1.bin",
                                    "y": "pytorch_model-2.bin"}}  # fmt: skip
            (file / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    said = refusal(run, file, **options)
    assert not target.exists()
    assert "the file needs more than weights, which could run any code, and is refused; got " in said
    assert "mkdir" in said
    assert said.endswith("load it where you trust it and save model.state_dict(), or .safetensors")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_plain_pickle_is_not_run(run: Path, target: Path, tmp_path: Path, protocol: int) -> None:
    (tmp_path / "c1.pt").write_bytes(pickle.dumps({"weight": Bomb(target)}, protocol=protocol))
    refusal(run, tmp_path / "c1.pt")
    assert not target.exists()


def test_the_bomb_is_a_real_one(target: Path, tmp_path: Path) -> None:
    torch.save(state(Bomb(target)), tmp_path / "c1.pt")
    torch.load(tmp_path / "c1.pt", weights_only=False)
    assert target.exists()


class Whole(nn.Linear):
    """A model of one's own."""


def test_a_whole_model_is_refused_with_the_way_out(run: Path, tmp_path: Path) -> None:
    torch.save(Whole(2, 2), tmp_path / "c1.pt")
    assert re.search(r"got .*test_importing_safety\.Whole.*; load it where", refusal(run, tmp_path / "c1.pt"))


@pytest.mark.parametrize(
    "elsewhere", ["../outside.bin", "ABSOLUTE", "sub/inside.bin", "..", "C:\\x.bin", "a\0.bin"]
)
def test_an_index_names_files_of_its_folder_only(run: Path, target: Path, tmp_path: Path, elsewhere: str) -> None:
    torch.save(state(Bomb(target)), tmp_path / "outside.bin")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    torch.save(state(), folder / "sub" / "inside.bin")
    name = str(tmp_path / "outside.bin") if elsewhere == "ABSOLUTE" else elsewhere
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"weight": name}}))
    said = refusal(run, folder)
    assert "the index names a file that is not one of weights in its own folder; got " in said
    assert not target.exists()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (
            {},
            "a folder without weights; expected files (.pt, .pth, .bin, .ckpt, .safetensors), or model.",
        ),
        ({"optimizer.pt": b"", "config.json": b""}, "a folder without weights; expected files "),
        ({"other.pt": b""}, "other.pt: the file is empty"),
        (
            {"model.safetensors.index.json": b"\xff\xfe{}"},
            "not a JSON file, or a damaged one; got UnicodeDecodeError",
        ),
        (
            {"model.safetensors.index.json": b"[" * 100_000},
            "not a JSON file, or a damaged one; got RecursionError",
        ),
        ({"model.safetensors.index.json": b"[]"}, "not a JSON object; got list"),
        ({"model.safetensors.index.json": b"{}"}, "the index is damaged; expected a weight_map of name -> file"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": 1}}'}, "the index is damaged; expected"),
        (
            {"model.safetensors.index.json": b'{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}'},
            "2 of 2 files that the index names are missing; got 1.safetensors, 2.safetensors; copy the whole",
        ),
        ({"pytorch_model.bin": b""}, "pytorch_model.bin: the file is empty"),
        ({"model.safetensors": b"\0" * 100}, "model.safetensors: not a safetensors file, or a damaged one; got "),
    ],
)
def test_folders_that_are_not_whole(run: Path, tmp_path: Path, files: dict[str, bytes], text: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert text.format(folder=folder) in refusal(run, folder)


def test_an_index_that_promises_too_much(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file(state(), folder / "1.safetensors")
    index = {"weight_map": {"weight": "1.safetensors", "gone": "1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "tensors are not in the file that the index names for them; got gone" in refusal(run, folder)


def test_trainer_state_that_is_damaged(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file(state(), folder / "model.safetensors")
    (folder / "trainer_state.json").write_bytes(b"\xff")
    assert "trainer_state.json: not a JSON file, or a damaged one" in refusal(run, folder)


def header(text: bytes, size: int | None = None, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text) if size is None else size) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x10",
        header(b"{}", size=2**63),
        header(b"{}", size=2**40),
        header(b"\xff\xfe"),
        header(b'{"weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'),
        header(b'{"weight":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,16]}}', data=bytes(16)),
        header(b'{"weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,8]}}', data=bytes(8)),
        header(b'{"weight":{"dtype":"F32","shape":[2,2],"data_offsets":[16,0]}}', data=bytes(16)),
        header(b'{"weight":{"dtype":"F32","shape":[-2,-2],"data_offsets":[0,16]}}', data=bytes(16)),
        header(b'{"weight":{"dtype":"X","shape":[2,2],"data_offsets":[0,16]}}', data=bytes(16)),
        header(b'{"__metadata__":{"a":{"b":"c"}}}'),
    ],
)
def test_safetensors_that_lie_are_refused(run: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "c1.safetensors"
    file.write_bytes(content)
    said = refusal(run, file)
    assert "the file is empty" in said or "not a safetensors file, or a damaged one; got " in said


def test_metadata_is_text_and_no_more(run: Path, target: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    tricks = {"step": f"__import__('os').mkdir({str(target)!r})", "epoch": "9" * 5000, "weight": "bias", "x": "y"}
    save_file(state(), file, metadata=tricks)
    imported, report = import_checkpoints(run, file, nn.Linear(2, 2), steps=[3])
    assert not target.exists()
    assert (imported[0].step, report.files[0].epoch) == (3, None)


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_and_garbled_files_are_refused(run: Path, tmp_path: Path, legacy: bool) -> None:
    whole = io.BytesIO()
    torch.save(state(), whole, _use_new_zipfile_serialization=not legacy)
    content, file = whole.getvalue(), tmp_path / "c1.pt"
    for size in [0, 1, 3, 4, 5, 30, *range(50, len(content) - 1, 37)]:
        file.write_bytes(content[:size])
        said = refusal(run, file)
        # A name that is cut off is one that nobody allowed.
        known = ("the file is empty", "not a file of weights that torch can read", "needs more than weights")
        assert any(text in said for text in known), (size, said)
    for text in (
        b"hello\n",
        b"\x80\x02.",
        b"\x89HDF\r\n\x1a\n",
        b"\xff" * 50,
        b"c1\n.",
        b"cos\nsystem\n.",
        b"(" * 99,
    ):
        file.write_bytes(text)
        refusal(run, file)


def test_one_flipped_bit_never_gives_a_traceback(run: Path, tmp_path: Path) -> None:
    whole = io.BytesIO()
    torch.save(state(), whole)
    content, file = whole.getvalue(), tmp_path / "c1.pt"
    for place in range(0, len(content), 11):
        garbled = bytearray(content)
        garbled[place] ^= 1 << (place % 8)
        file.write_bytes(garbled)
        # What is flipped among the numbers cannot be noticed; all else is a clear refusal.
        with contextlib.suppress(LandscapeError):
            import_checkpoints(run, file, nn.Linear(2, 2), steps=[0], overwrite=True)


def test_a_tensor_that_claims_more_than_there_is(run: Path, tmp_path: Path) -> None:
    class Claims:
        def __reduce__(self) -> tuple[Any, ...]:
            storage = torch.zeros(4)._typed_storage()
            return torch._utils._rebuild_tensor_v2, (storage, 0, (1000, 1000), (1000, 1), False, {})

    torch.save({"weight": Claims(), "bias": torch.zeros(2)}, tmp_path / "c1.pt")
    refusal(run, tmp_path / "c1.pt")


def test_a_small_file_that_asks_for_a_lot_of_room(run: Path, tmp_path: Path) -> None:
    file, size = tmp_path / "c1.pt", 10**6
    torch.save({"weight": torch.zeros(1).expand(size, size), "bias": torch.zeros(2)}, file)
    assert file.stat().st_size < 5000
    assert "1 of another shape: weight is 1000000x1000000, not 2x2" in refusal(run, file)
    with pytest.raises(LandscapeError, match="'weight' has more elements than numbers; got 1000000x1000000; pass"):
        import_checkpoints(run, file)
    model = nn.Linear(2, 2)
    torch.save({"weight": torch.ones(1).expand(2, 2), "bias": torch.zeros(2)}, file)
    assert import_checkpoints(run, file, model)[0][0].weights["weight"].sum() == 4


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (torch.zeros(2, 2).to_sparse(), "tensor 'weight' is not a plain array; got sparse_coo"),
        (torch.empty(2, 2, device="meta"), "tensor 'weight' is not a plain array; got without numbers"),
    ],
)
def test_tensors_that_are_no_arrays(run: Path, tmp_path: Path, tensor: torch.Tensor, text: str) -> None:
    torch.save({"weight": tensor, "bias": torch.zeros(2)}, tmp_path / "c1.pt")
    assert text in refusal(run, tmp_path / "c1.pt")


@pytest.mark.parametrize("name", ["c1.pt", "c1.safetensors"])
def test_a_pointer_in_place_of_the_file(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n")
    assert refusal(run, tmp_path / name).endswith("a pointer of Git LFS, not the file itself; run git lfs pull")


@pytest.mark.parametrize(
    ("content", "got"),
    [(b"<html>404</html>", "Unsupported operand 60"), (pickle.dumps([1]), "")],
)
def test_a_reason_is_given_where_torch_knows_one(run: Path, tmp_path: Path, content: bytes, got: str) -> None:
    (tmp_path / "c1.pt").write_bytes(content)
    said = refusal(run, tmp_path / "c1.pt")
    assert f"not a file of weights that torch can read, or a damaged one; got {got}" in said
    assert "PyTorch" not in said


def test_other_things_by_name(run: Path, tmp_path: Path) -> None:
    (tmp_path / "c1.txt").write_text("x")
    expected = ".pt, .pth, .bin, .ckpt, .pth.tar, .t7, .tar, .safetensors, .npz, .npy or a folder of them"
    assert refusal(run, tmp_path / "c1.txt").endswith(
        f"c1.txt: not a checkpoint by its name; got .txt; expected {expected}"
    )
    os.mkfifo(tmp_path / "pipe.pt")
    assert "this is a pipe or a device" in refusal(run, tmp_path / "pipe.pt")
    (tmp_path / "gone.pt").symlink_to(tmp_path / "nowhere.pt")
    assert "no such file" in refusal(run, tmp_path / "gone.pt")
