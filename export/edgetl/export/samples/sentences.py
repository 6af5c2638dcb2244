"""Generated texts: probes of a device's tokeniser, and word salad in place of texts that must not travel."""

import numpy as np

from edgetl.tasks import TextClassification
from edgetl.tasks.preparation import Preparation

WORDS = (
    "the a of and to in it is was for on as with be at by this that from or an are not have but one all were when we",
    "there can more if no out so what up said its about into than them only some time could these two may then do",
    "first any my now such like our over even most after also made before must good bad film story never always",
)
"""What the salad is made of: frequent English words, which say nothing about anybody."""

LONGEST = 40
"""Words of a text."""

PROBES = {
    "plain.txt": "A plain sentence, with a comma.",
    "case.txt": "UPPER, lower and MiXeD Case",
    "accents.txt": "na\u00efve caf\u00e9 \u00e0 la cr\u00e8me br\u00fbl\u00e9e, na\u0131ve cafe\u0301",
    "spaces.txt": "tabs\tand  double   spaces\nand new lines ",
    "scripts.txt": "\u6570\u5b57 \u0440\u0443\u0441 \u0627\u0644\u0639 \u2603 \U0001f600",
    "marks.txt": "it's 3.14 % of $1,000 -- isn't it?! <b>[MASK]</b> http://example.org/a_b?c=d",
    "word.txt": "pneumonoultramicroscopicsilicovolcanoconiosis " * 2,
}
"""What the user's own texts may happen not to contain."""


def probes(task: TextClassification, preparation: Preparation) -> list[tuple[str, bytes]]:
    """(file name, content), one of them longer than the model reads."""
    texts = {**PROBES, "long.txt": "again and again " * task.input.max_length}
    return [(f"golden/probes/{name}", text.encode()) for name, text in texts.items()]


def salad(task: TextClassification, preparation: Preparation, count: int, seed: int) -> list[bytes]:
    """Random words, from one to `LONGEST` of them."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(" ".join(WORDS).split(), rng.integers(1, LONGEST + 1))).encode() for _ in range(count)]
