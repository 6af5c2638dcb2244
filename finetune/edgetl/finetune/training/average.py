"""The exponential moving average of a network's weights and statistics.

Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; the decay warms up, so that the
random start is forgotten.
"""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class Average:
    """After `n` updates the decay is min(`decay`, (1 + n) / (10 + n)). Counters are copied."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay, self.updates = model, decay, 0
        self._mean = {key: value.detach().clone() for key, value in model.state_dict().items()}

    def update(self) -> None:
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = self.model.state_dict()
        floats = [key for key, value in self._mean.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._mean[key] for key in floats], [current[key] for key in floats], weight)
        for key in self._mean.keys() - set(floats):
            self._mean[key].copy_(current[key])

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model has the averaged weights."""
        own = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
        self.model.load_state_dict(self._mean)
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def tensors(self) -> dict[str, Tensor]:
        return {**self._mean, "updates": torch.tensor(self.updates)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.updates = int(tensors["updates"])
        for key, mean in self._mean.items():
            mean.copy_(tensors[key])
