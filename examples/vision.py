"""Image models of torchvision and timm on images that come with scikit-learn.

landscape train examples/vision.py:make --set name=torchvision/resnet18 --epochs 3 --lr 0.05 -o run.h5
landscape plot run.h5 --problem examples/vision.py:make --kind surface --points 11 -o surface.png
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import landscape as ls


def make_model(name: str, size: int) -> nn.Module:
    """``torchvision/<builder>``, or ``timm/<model>`` after ``pip install timm``."""
    library, _, builder = name.partition("/")
    if library == "timm":
        import timm

        sized = {"img_size": size} if "vit" in builder else {}
        return timm.create_model(builder, num_classes=10, **sized)
    import torchvision

    sized = {"image_size": size} if "vit" in builder else {}
    return torchvision.models.get_model(builder, num_classes=10, **sized)


def make(name: str = "torchvision/resnet18", size: int = 32, examples: int = 500, seed: int = 0) -> ls.Objective:
    """Digits, enlarged to what the model takes."""
    torch.manual_seed(seed)
    digits = load_digits()
    images = torch.from_numpy(digits.images[: 2 * examples]).float().unsqueeze(1) / 16
    images = F.interpolate(images, size=(size, size), mode="bilinear").expand(-1, 3, -1, -1).contiguous()
    labels = torch.from_numpy(digits.target[: 2 * examples])
    train, test = (images[:examples], labels[:examples]), (images[examples:], labels[examples:])
    return ls.Objective(make_model(name, size), loss=F.cross_entropy, train=train, test=test)
