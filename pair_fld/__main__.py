"""`pairfld`, which is also `python -m pair_fld`. Without the command line's packages it says which one is missing."""

from __future__ import annotations

import sys

from pair_fld.errors import missing_package


def main() -> None:
    """Entry point; exit code 2 where a package of the command line cannot be imported."""
    try:
        from pair_fld.cli.app import main as run
    except ImportError as error:  # the Python interface needs fewer packages, and may stand alone
        if (error.name or "").partition(".")[0] == "pair_fld":
            raise
        print("error", missing_package(error), file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
