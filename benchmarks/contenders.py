"""What else a careful user might write for hymenoptera: a scikit-learn probe, and a tuned training loop.

Prints the seconds after the imports and the top-1 on val. Run by `benchmarks.finetune_time`.

    python -m benchmarks.contenders probe|tuned
"""

import sys
import time

import numpy as np
import torch
import torchvision
from benchmarks.common import hymenoptera, imagenet_weights
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

NORMALISE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
TEST = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), NORMALISE])
TRAIN = transforms.Compose(
    [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), NORMALISE]
)


def pretrained() -> nn.Module:
    model: nn.Module = torchvision.models.mobilenet_v2()
    model.load_state_dict(load_file(imagenet_weights()))
    return model


def probe() -> float:
    """Eager FP32 features, C chosen by cross-validation."""
    model = pretrained().eval()
    model.classifier = nn.Identity()
    parts = []
    with torch.inference_mode():
        for split in ("train", "val"):
            loader = DataLoader(datasets.ImageFolder(hymenoptera() / split, TEST), batch_size=8)
            found = [(model(images).numpy(), labels.numpy()) for images, labels in loader]
            parts.append(tuple(np.concatenate(column) for column in zip(*found, strict=True)))
    head = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=11, cv=5, max_iter=2000))
    head.fit(*parts[0])
    return float(head.score(*parts[1]))


def tuned() -> float:
    """Every parameter, batch 32, bf16 autocast, channels-last, ten epochs of one cycle."""
    torch.manual_seed(0)
    model = pretrained().to(memory_format=torch.channels_last)
    model.classifier[1] = nn.Linear(1280, 2)
    train = DataLoader(datasets.ImageFolder(hymenoptera() / "train", TRAIN), batch_size=32, shuffle=True)
    val = DataLoader(datasets.ImageFolder(hymenoptera() / "val", TEST), batch_size=32)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=10 * len(train))
    for _ in range(10):
        model.train()
        for images, labels in train:
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(images.contiguous(memory_format=torch.channels_last))
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        return sum(int((model(images).argmax(1) == labels).sum()) for images, labels in val) / len(val.dataset)


if __name__ == "__main__":
    began = time.perf_counter()
    top1 = {"probe": probe, "tuned": tuned}[sys.argv[1]]()
    print(time.perf_counter() - began, top1)
