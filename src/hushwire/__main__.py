"""`python -m hushwire`: the command line, also the way that the supervisor starts its roles."""

from hushwire.cli import main

if __name__ == "__main__":
    main()
