"""How every command ends: what a person can mend is one line and exit status 2, and a closed pipe is nothing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import yaml


@contextmanager
def plain_ending(command: str) -> Iterator[None]:
    """Around the work of a command; errors that are nobody's to mend keep their traceback."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # of `wsss describe | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (ValueError, OSError, yaml.YAMLError) as error:
        print(f"[{command}] error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
