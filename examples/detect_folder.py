"""Finds the objects in every photo of a folder, a line of CSV each: python examples/detect_folder.py BUNDLE FOLDER"""

import csv
import sys
from pathlib import Path

from edgetl.errors import EdgetlError
from edgetl.runtime import load
from edgetl.tasks.labelled import read_unlabelled


def main() -> int:
    out = csv.writer(sys.stdout)
    try:
        with load(sys.argv[1]) as model:
            for path in read_unlabelled(Path(sys.argv[2])):
                for each in model.detect(path).objects:  # the surest first; left, top, right, bottom in pixels
                    out.writerow([path.name, each.label, f"{each.score:.3f}", *(f"{value:.1f}" for value in each.box)])
    except EdgetlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
