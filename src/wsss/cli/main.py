"""The command `wsss`."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from types import ModuleType

from wsss import __version__
from wsss.config.messages import nearest
from wsss.runtime.ending import plain_ending
from wsss.runtime.process import let_threads_sleep, raise_on

COMMANDS = {
    "run": "your images and labels to masks, a model and a report, in one command",
    "init": "looks at your images and labels, and writes a configuration",
    "predict": "masks of new images by a run's model",
    "export": "a run's model as ONNX",
    "reproduce": "a published system: its requirements, its published numbers, and its run",
    "status": "every running and finished stage of every run",
    "show": "a run's table",
    "compare": "runs side by side on one page",
    "masks": "mask proposals, such as SAM's, as one file for make_pseudo_labels.masks",
    "labels": "label maps in other tools' formats",
    "clean": "stage folders that no run refers to, with their sizes",
    "describe": "every setting with its type, default and meaning",
}


def main() -> None:
    """Runs `wsss.cli.{command}` with the other arguments; a signal that ends it leaves no unfinished file."""
    with plain_ending("wsss"):
        _main()


def _main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "--version":
        print(f"wsss {__version__}")
        return
    if command not in COMMANDS:
        lines = "\n".join(f"  wsss {name:10} {text}" for name, text in COMMANDS.items())
        helped = command in ("-h", "--help")
        unknown = f"wsss: no command '{command}'{nearest(command, COMMANDS)}\n" if command and not helped else ""
        print(f"{unknown}usage: wsss <command> [--help]\n{lines}", file=sys.stdout if helped else sys.stderr)
        sys.exit(0 if helped else 2)
    sys.argv = [f"wsss {command}", *sys.argv[2:]]
    let_threads_sleep()
    program = _imported(f"wsss.cli.{command}")
    raise_on((signal.SIGTERM, signal.SIGHUP))
    program.main()


def _imported(name: str) -> ModuleType:
    """A module; Ctrl-C ends the process at once meanwhile, as an exception is lost in what Python calls in imports."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return import_module(name)
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    main()
