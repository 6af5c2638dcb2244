"""Open a bundle on a device and ask it: numpy, Pillow and one engine, no torch.

from edgetl.runtime import load
with load("bundles/hymenoptera") as model:
    print(model.predict("bee.jpg").top)
"""

from edgetl.runtime.session import Session, load

__all__ = ["Session", "load"]
