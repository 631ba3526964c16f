"""`python -m pair_fld` is `pairfld`."""

from pair_fld.cli.app import main

if __name__ == "__main__":
    main()
