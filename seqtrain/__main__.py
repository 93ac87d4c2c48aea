"""The command `seqtrain`, also as `python -m seqtrain`. It imports next to nothing before a Ctrl-C is heard."""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] != os.path.dirname(os.path.dirname(__file__)):
    del sys.path[0]  # the current folder, as for the command: what lies there is no module, unless PYTHONPATH names it

from seqtrain.machine import signals


def main() -> int:
    with signals.importing():
        from seqtrain import cli
        from seqtrain.machine import threads
    code = cli.main()
    signals.ignore()
    if threads.launched():  # all is written: without the interpreter's end, at which a thread of gloo may still abort
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
