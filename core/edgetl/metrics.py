"""How metrics are called where people read them."""

TITLES = {"top1": "top-1", "macro_f1": "macro-F1", "map50": "mAP50", "map": "mAP"}
"""By the name in profiles and JSON. mAP50: mean average precision at an overlap of 0.5; mAP: over COCO's ten."""
