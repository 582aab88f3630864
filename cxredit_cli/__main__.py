"""`python -m cxredit_cli` is `cxredit`."""

from cxredit_cli.app import main

if __name__ == "__main__":
    main()
