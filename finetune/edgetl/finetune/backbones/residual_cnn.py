"""A small residual network for small images, trained by users themselves rather than downloaded.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, at 32 × 32 pixels.
"""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut, which is 1 × 1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return result


class ResidualCnn(nn.Module):
    """About 120,000 parameters: a stem, three residual stages, mean pooling and a linear head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stages = nn.Sequential(ResidualBlock(16, 24, 2), ResidualBlock(24, 48, 2), ResidualBlock(48, 80, 2))
        self.head = nn.Linear(80, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.stages(self.stem(x)).mean((2, 3))
        result: Tensor = self.head(pooled)
        return result
