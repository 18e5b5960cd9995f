"""Data of the built-in problems: digits, text, and CIFAR-10 in both layouts, on small stand-ins."""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10

from landscape import problems
from landscape.errors import LandscapeError
from landscape.problems.data import digits, order, text
from landscape.problems.image_data import MEAN, STD, cifar10, classes_of, images
from landscape.training import Settings, train

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PER_CLASS = {"train": 3, "test": 2}


def fails_with(message: str):
    return pytest.raises(LandscapeError, match=f"^{re.escape(message)}$")


def picture(split: str, label: int, number: int) -> np.ndarray:
    """One even colour that says which image it is."""
    pixels = np.empty((32, 32, 3), dtype=np.uint8)
    pixels[:] = (20 * label, 50 * number, 200 if split == "test" else 100)
    return pixels


@pytest.fixture
def folder(tmp_path) -> Path:
    for split, count in PER_CLASS.items():
        for label, name in enumerate(CLASSES):
            inside = tmp_path / "data" / split / name
            inside.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(picture(split, label, number)).save(inside / f"{number:04}.png")
    return tmp_path / "data"


@pytest.fixture
def batches(tmp_path, monkeypatch) -> Path:
    """The same images as torchvision keeps them, with the checksums that these files have."""
    root = tmp_path / "root"
    inside = root / "cifar-10-batches-py"
    inside.mkdir(parents=True)

    def write(name: str, content: dict) -> str:
        data = pickle.dumps(content, protocol=2)
        (inside / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    def batch(split: str) -> dict:
        wanted = [(label, number) for number in range(PER_CLASS[split]) for label in range(10)]
        rows = [picture(split, label, number).transpose(2, 0, 1).ravel() for label, number in wanted]
        return {"data": np.stack(rows), "labels": [label for label, _ in wanted]}

    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", write("data_batch_1", batch("train"))]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", write("test_batch", batch("test"))]])
    digest = write("batches.meta", {"label_names": CLASSES})
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": digest})
    return root


@pytest.fixture(autouse=True)
def no_variable(monkeypatch, request):
    if "cifar" not in request.keywords:
        monkeypatch.delenv("LANDSCAPE_DATA", raising=False)


def same(a, b) -> bool:
    return all(
        torch.equal(s, t) for left, right in zip(a, b, strict=True) for s, t in zip(left, right, strict=True)
    )


def test_digits_are_split_without_overlap():
    (x, y), (xt, yt) = digits(1437, 0)
    assert x.shape == (1437, 64)
    assert xt.shape == (360, 64)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert (float(x.min()), float(x.max())) == (0.0, 1.0)
    assert len(torch.cat([x, xt]).unique(dim=0)) == 1797
    assert torch.bincount(torch.cat([y, yt])).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_are_those_of_scikit_learn():
    values, labels = load_digits(return_X_y=True)
    (x, y), (xt, yt) = digits(1437, 0)
    places = order(1797, 0)
    assert np.array_equal(torch.cat([x, xt]).numpy() * 16, values[places])
    assert np.array_equal(torch.cat([y, yt]).numpy(), labels[places])


def test_digits_images_are_the_same_numbers():
    (x, _), _ = digits(100, 2)
    (images, _), (rest, _) = digits(100, 2, images=True)
    assert images.shape == (100, 1, 8, 8)
    assert rest.shape == (1697, 1, 8, 8)
    assert torch.equal(images.flatten(1), x)


def test_text_windows_follow_one_byte_later_and_do_not_overlap(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes(bytes(range(100)))
    train, test = text(file, context=9, train_size=6, test_size=4, data_seed=0)
    for x, y in (train, test):
        assert torch.equal(y, x + 1)
    starts = torch.cat([train[0], test[0]])[:, 0]
    assert sorted(starts.tolist()) == list(range(0, 100, 10))


def test_text_windows_are_taken_evenly(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes(bytes(range(100)))
    train, test = text(file, context=4, train_size=3, test_size=1, data_seed=0)
    assert sorted(torch.cat([train[0], test[0]])[:, 0].tolist()) == [0, 25, 50, 75]


def test_text_folder_is_its_files_joined_by_path(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.txt").write_text("cd")
    (tmp_path / "a.txt").write_text("ab")
    (tmp_path / ".hidden").write_bytes(b"\xff")
    train, test = text(tmp_path, context=1, train_size=1, test_size=1, data_seed=0)
    assert sorted(torch.cat([train[0], test[0]])[:, 0].tolist()) == [ord("a"), ord("c")]


def test_text_messages(tmp_path):
    short, strange, empty = tmp_path / "short.txt", tmp_path / "strange.txt", tmp_path / "empty"
    short.write_text("abcdef")
    strange.write_bytes(b"ab\xff")
    empty.mkdir()
    wanted = {"context": 1, "train_size": 3, "test_size": 1, "data_seed": 0}
    with fails_with(
        f"{short}: the text is too short; got 3 windows of 2 bytes; expected at least 4 (train_size + test_size); "
        "give a longer text by --data, or lower train_size, test_size or context"
    ):
        text(short, **wanted)
    with fails_with(f"{strange}: is not UTF-8 text; got byte 2 cannot be read"):
        text(strange, **wanted)
    with fails_with(f"{empty}: the folder has no files; expected UTF-8 text files"):
        text(empty, **wanted)
    with fails_with(
        f"{tmp_path / 'none'}: no such file or folder; expected a UTF-8 text file or a folder of them"
    ):
        text(tmp_path / "none", **wanted)


def test_cifar_images_and_labels_belong_together(folder):
    (x, y), (xt, yt) = cifar10(folder, train_size=30, test_size=20)
    assert x.shape == (30, 3, 32, 32)
    assert x.dtype == torch.float32
    assert torch.bincount(yt).tolist() == [2] * 10
    red = (x[:, 0, 0, 0] * STD[0] + MEAN[0]) * 255
    assert torch.allclose(red, 20.0 * y, atol=1e-3)
    blue = (xt[:, 2, 5, 5] * STD[2] + MEAN[2]) * 255
    assert torch.allclose(blue, torch.full_like(blue, 200), atol=1e-3)
    assert len(x.flatten(1).unique(dim=0)) == 30


def test_cifar_classes_take_turns_and_smaller_sets_begin_larger_ones(folder):
    (x, y), _ = cifar10(folder, train_size=30, test_size=10)
    (part, labels), _ = cifar10(folder, train_size=13, test_size=10)
    assert y.tolist() == list(range(10)) * 3
    assert torch.equal(part, x[:13])
    assert torch.equal(labels, y[:13])


def test_cifar_data_seed_chooses(folder):
    first, again, other = (cifar10(folder, train_size=10, test_size=10, data_seed=s) for s in (0, 0, 1))
    assert same(first, again)
    assert not torch.equal(first[0][0], other[0][0])


def test_cifar_reads_both_layouts_alike(folder, batches):
    wanted = {"train_size": 20, "test_size": 20}
    assert same(cifar10(folder, **wanted), cifar10(batches, **wanted))
    assert same(cifar10(batches, **wanted), cifar10(batches / "cifar-10-batches-py", **wanted))


def test_cifar_folder_may_lie_one_deeper_or_in_the_variable(folder, tmp_path, monkeypatch):
    wanted = {"train_size": 20, "test_size": 20}
    direct = cifar10(folder, **wanted)
    folder.rename(tmp_path / "cifar10")
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path))
    assert same(cifar10(None, **wanted), direct)


def test_cifar_reads_jpeg(folder):
    for file in folder.rglob("*.png"):
        Image.open(file).save(file.with_suffix(".JPG"), quality=95)
        file.unlink()
    (x, y), _ = cifar10(folder, train_size=10, test_size=10)
    assert torch.allclose((x[:, 0, 3, 3] * STD[0] + MEAN[0]) * 255, 20.0 * y, atol=6)


@pytest.mark.parametrize("name", ["cifar10-cnn6", "cifar10-vgg9", "cifar10-resnet20", "cifar10-resnet20-noskip"])
def test_cifar_problems_build(name, folder):
    settings = {"width": "2", "train_size": "20", "test_size": "10"}
    objective = problems.build(name, settings, data=folder)
    again = problems.build(name, objective.problem_args, data=str(folder))
    assert objective.values(objective.model) == again.values(again.model)
    assert objective.data_digest("test") == again.data_digest("test")
    assert objective.metrics[:2] == ("loss", "error")


def tiny_imagenet(root: Path, pixels: int = 16) -> Path:
    """Two classes in the layout of Tiny-ImageNet."""
    table = []
    (root / "val" / "images").mkdir(parents=True)
    (root / "test" / "images").mkdir(parents=True)
    for label, name in enumerate(("n02", "n01")):
        inside = root / "train" / name / "images"
        inside.mkdir(parents=True)
        (inside.parent / f"{name}_boxes.txt").touch()
        for number in range(4):
            # Some of its images are grey.
            Image.new("L" if number else "RGB", (pixels, pixels), 60 * label + 20 * number).save(
                inside / f"{name}_{number}.JPEG"
            )
        for number in range(2):
            file = f"val_{2 * number + label}.JPEG"
            Image.new("RGB", (pixels, pixels), (200 * label, 0, 0)).save(root / "val" / "images" / file)
            table.append(f"{file}\t{name}\t0\t0\t15\t15")
    (root / "val" / "val_annotations.txt").write_text("\n".join(table) + "\n")
    return root


def test_folders_in_the_layout_of_tiny_imagenet(tmp_path):
    (x, y), (xt, yt) = images(tiny_imagenet(tmp_path), "folder")
    assert (x.shape, xt.shape) == ((8, 3, 16, 16), (4, 3, 16, 16))
    assert sorted(y.tolist()) == [0] * 4 + [1] * 4
    # Class n02, the second by name, is the dark one.
    assert (xt[yt == 1][:, 0].amax() < -2, xt[yt == 0][:, 0].amin() > 1) == (True, True)
    assert classes_of(tmp_path, "folder") == 2
    with fails_with(
        f"{tmp_path / 'val'}: no labelled images here; got a folder with images, val_annotations.txt; expected "
        "train/<class>/*.jpg and test/<class>/*.jpg (or val/), also with val/val_annotations.txt as in "
        "Tiny-ImageNet"
    ):
        images(tmp_path / "val", "folder")
    Image.new("RGB", (8, 16)).save(tmp_path / "train" / "n01" / "images" / "n01_3.JPEG")
    with pytest.raises(LandscapeError, match="the image has another size"):
        images(tmp_path, "folder")


def test_cifar100_is_read_from_folders(tmp_path):
    for split, label in itertools.product(("train", "test"), range(100)):
        (tmp_path / "cifar100" / split / f"{label:02}").mkdir(parents=True)
        Image.new("RGB", (32, 32), (label, 0, 0)).save(tmp_path / "cifar100" / split / f"{label:02}" / "0.png")
    (x, y), _ = images(tmp_path, "cifar100")
    assert (x.shape, y.tolist()) == ((100, 3, 32, 32), list(range(100)))
    assert (x[:, 0, 0, 0].diff() > 0).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {}),
        ("densenet121", {}),
        ("efficientnet-b0", {}),
        ("pyramidnet", {"depth": 20, "alpha": 12}),
    ],
)
def test_networks_of_images_train_for_an_epoch(name, options, tmp_path):
    settings = {"dataset": "folder", **options}
    objective = problems.build(name, settings, data=tiny_imagenet(tmp_path / "tiny", pixels=8))
    before = objective.value(objective.model)
    run = train(objective, tmp_path / "run.h5", Settings(epochs=1, batch_size=4, lr=0.01, seed=1))
    assert run[-1].epoch == 1
    assert np.isfinite(run.metrics["train_loss"]).all()
    assert objective.value(run[-1].weights) != before


def test_cifar_only_decodes_what_is_chosen(folder):
    (folder / "train" / "cat" / "0002.png").write_bytes(b"no image")
    spoilt = 0
    for data_seed in range(8):
        try:
            cifar10(folder, train_size=10, test_size=10, data_seed=data_seed)
        except LandscapeError:
            spoilt += 1
    assert 0 < spoilt < 8


def test_cifar_missing_messages(tmp_path):
    expected = "expected train/<class>/*.jpg and test/<class>/*.jpg, or cifar-10-batches-py/"
    with fails_with(
        "the CIFAR-10 images are not in the package; give --data DIR, or set LANDSCAPE_DATA=DIR, where DIR has "
        "train/<class>/*.jpg and test/<class>/*.jpg, or cifar-10-batches-py/; landscape train PROBLEM --data DIR "
        "--download fetches them"
    ):
        cifar10(None)
    fetch = f"landscape train PROBLEM --data {tmp_path} --download fetches them"
    with fails_with(f"{tmp_path}: no CIFAR-10 images here; got an empty folder; {expected}; {fetch}"):
        cifar10(tmp_path)
    for name in "fedcba":
        (tmp_path / name).touch()
    with fails_with(
        f"{tmp_path}: no CIFAR-10 images here; got a folder with a, b, c, d, e, ...; {expected}; {fetch}"
    ):
        cifar10(tmp_path)
    none = tmp_path / "none"
    fetch = f"landscape train PROBLEM --data {none} --download fetches them"
    with fails_with(f"{none}: no CIFAR-10 images here; got no such folder; {expected}; {fetch}"):
        cifar10(none)


def test_cifar_wrong_classes(folder):
    for split in PER_CLASS:
        (folder / split / "truck").rename(folder / split / ".truck")
    with fails_with(f"{folder / 'train'}: has 9 class folders; got {', '.join(CLASSES[:9])}; expected 10"):
        cifar10(folder)
    (folder / "train" / ".truck").rename(folder / "train" / "truck")
    (folder / "test" / ".truck").rename(folder / "test" / "lorry")
    with fails_with(
        f"{folder}: the classes of test and train differ; got lorry, truck; expected the same 10 folders in both"
    ):
        cifar10(folder, train_size=10)


def test_cifar_too_few_images(folder):
    with fails_with(
        f"{folder}, train: too few images; got 3 of the rarest class; expected 4 of each for 31 in all; "
        "complete the data or lower the size"
    ):
        cifar10(folder, train_size=31)


def test_cifar_unreadable_and_misshapen_images(folder):
    file = folder / "train" / "bird" / "0001.png"
    file.write_bytes(b"no image")
    with fails_with(f"{file}: not a readable image; replace it or fetch the data again"):
        cifar10(folder, train_size=30, test_size=10)
    Image.new("RGB", (16, 8)).save(file)
    with fails_with(f"{file}: the image has another size; got 16x8; expected 32x32"):
        cifar10(folder, train_size=30, test_size=10)


def test_cifar_damaged_batches_are_not_unpickled(batches):
    inside = batches / "cifar-10-batches-py"
    with (inside / "test_batch").open("ab") as file:
        file.write(b"x")
    with fails_with(
        f"{inside}: the CIFAR-10 files are incomplete or damaged; "
        "delete the folder and fetch it again: landscape train PROBLEM --data DIR --download"
    ):
        cifar10(batches, train_size=10, test_size=10)


def test_cifar_download(batches, tmp_path, monkeypatch):
    target = tmp_path / "new" / "place"

    def fetch(self):
        (batches / "cifar-10-batches-py").rename(Path(self.root) / "cifar-10-batches-py")

    monkeypatch.setattr(CIFAR10, "download", fetch)
    (_, y), _ = cifar10(target, train_size=20, test_size=10, download=True)
    assert len(y) == 20


def test_cifar_download_without_a_network(tmp_path, monkeypatch):
    def fetch(self):
        raise OSError("no route to host")

    monkeypatch.setattr(CIFAR10, "download", fetch)
    with fails_with(
        f"{tmp_path}: CIFAR-10 could not be downloaded; got no route to host; fetch {CIFAR10.url} by other means "
        "and unpack it there"
    ):
        cifar10(tmp_path, download=True)


def _real_cifar() -> bool:
    root = Path(os.environ.get("LANDSCAPE_DATA") or "/nowhere")
    return any((root / inside).is_dir() for inside in ("train", "cifar10/train", "cifar-10-batches-py"))


@pytest.mark.cifar
@pytest.mark.skipif(not _real_cifar(), reason="LANDSCAPE_DATA names no folder with CIFAR-10")
def test_real_cifar_has_the_stated_means_and_deviations():
    (x, y), (_, yt) = cifar10(None, train_size=2000, test_size=100)
    assert torch.bincount(y).tolist() == [200] * 10
    assert torch.bincount(yt).tolist() == [10] * 10
    # Image means scatter with a deviation of about 0.5: over 2,000 images four standard errors are 0.05.
    assert x.mean((0, 2, 3)).abs().max() < 0.05
    assert (x.std((0, 2, 3)) - 1).abs().max() < 0.05
