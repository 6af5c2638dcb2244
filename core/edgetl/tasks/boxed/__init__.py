"""Photos with boxes as people keep them: COCO JSON, Pascal VOC and YOLO text, read without a training library."""

from edgetl.tasks.boxed.photos import BoxedPhoto, BoxedPhotos, truths
from edgetl.tasks.boxed.reading import FORMATS, read_boxed, read_photos

__all__ = ["FORMATS", "BoxedPhoto", "BoxedPhotos", "read_boxed", "read_photos", "truths"]
