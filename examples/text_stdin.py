"""Labels each line of standard input as it comes: tail -f reviews.txt | python examples/text_stdin.py BUNDLE"""

import sys

from edgetl.errors import DataError, EdgetlError
from edgetl.runtime import load


def main() -> int:
    try:
        with load(sys.argv[1]) as model:
            for line in filter(str.strip, sys.stdin):
                try:
                    answer = model.predict(line.strip(), top=1)
                    print(f"{answer.label}\t{answer.probability:.3f}\t{line.strip()}", flush=True)
                except DataError as error:
                    print(f"left out: {error.message}", file=sys.stderr)
    except EdgetlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
