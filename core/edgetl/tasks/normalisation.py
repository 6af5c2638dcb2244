"""What the graph does to a uint8 pixel before the first layer."""

import msgspec


class Normalisation(msgspec.Struct, frozen=True, kw_only=True):
    """x · scale + shift per RGB channel; `swap` exchanges red and blue first (no right graph does)."""

    scale: tuple[float, ...]
    shift: tuple[float, ...]
    swap: bool = False


def normalisation(mean: tuple[float, ...], std: tuple[float, ...], *, top: float = 255.0) -> Normalisation:
    """Normalisation by `mean` and `std` (0–1 scale) of pixels divided by `top`."""
    return Normalisation(
        scale=tuple(1 / (top * s) for s in std), shift=tuple(-m / s for m, s in zip(mean, std, strict=True))
    )
