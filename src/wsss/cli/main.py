"""The command `wsss`."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "init": "looks at your images and labels, and writes a configuration",
    "predict": "masks of new images by a run's model",
    "export": "a run's model as ONNX",
    "status": "every running and finished stage of every run",
    "show": "a run's table",
    "compare": "runs side by side on one page",
    "describe": "every setting with its type, default and meaning",
}


def main() -> None:
    """Runs `wsss.cli.{command}` with the other arguments."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in COMMANDS:
        lines = "\n".join(f"  wsss {name:10} {text}" for name, text in COMMANDS.items())
        print(f"usage: wsss <command> [--help]\n{lines}", file=sys.stderr)
        sys.exit(0 if command in ("-h", "--help") else 2)
    sys.argv = [f"wsss {command}", *sys.argv[2:]]
    import_module(f"wsss.cli.{command}").main()


if __name__ == "__main__":
    main()
