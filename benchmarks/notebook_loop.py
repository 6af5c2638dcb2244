"""The loop people copy: MobileNetV2, batch 4, SGD 1e-3 with momentum, torchvision transforms.

Run by `benchmarks.finetune_time` and `benchmarks.epoch_speed`; prints the seconds of each epoch, the speed of its
training part and the best accuracy on val.

    python -m benchmarks.notebook_loop EPOCHS [frozen|unfrozen] [BATCH]
"""

import sys
import time

import torch
import torchvision
from benchmarks.common import hymenoptera, imagenet_weights
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

NORMALISE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def main(epochs: int, frozen: bool, batch: int) -> None:
    train = transforms.Compose(
        [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), NORMALISE]
    )
    test = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), NORMALISE])
    loaders = {
        split: DataLoader(datasets.ImageFolder(hymenoptera() / split, transform), batch_size=batch, shuffle=True)
        for split, transform in (("train", train), ("val", test))
    }
    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v2()
    model.load_state_dict(load_file(imagenet_weights()))
    for parameter in model.parameters():
        parameter.requires_grad = not frozen
    model.classifier[1] = nn.Linear(model.last_channel, 2)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    best = 0.0
    for _ in range(epochs):
        began = time.perf_counter()
        model.train()
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        speed = len(loaders["train"].dataset) / (time.perf_counter() - began)
        schedule.step()
        model.eval()
        with torch.no_grad():
            right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loaders["val"])
        best = max(best, right / len(loaders["val"].dataset))
        print(
            f"epoch {time.perf_counter() - began:.2f} s, best val top-1 {best:.3f}, train {speed:.1f} images/s",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), "unfrozen" not in sys.argv, int(sys.argv[3]) if len(sys.argv) > 3 else 4)
