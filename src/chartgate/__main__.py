"""`python -m chartgate` is the `chartgate` command."""

from chartgate.cli import main

if __name__ == "__main__":
    main()
