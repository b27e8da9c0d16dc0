"""The command line."""

import sys

from hushwire.core.errors import HushwireError

__all__ = ["main"]


def main() -> None:
    """Run the command line. What a person can mend is one clear sentence on stderr and exit status 1, never a traceback."""
    from hushwire.cli.commands import application

    try:
        application()
    except HushwireError as error:
        for line in str(error).splitlines():
            print(f"hushwire: {line}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
