"""The program. ``python -m imageclef_vqa`` runs it under the name that no other package installs."""

import os
import signal
import sys


def main() -> None:
    """Run the program; until its libraries are imported, a signal just ends it: an import would hide it."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, lambda *_: os._exit(130))
    from imageclef_vqa.cli import main as run

    run()


if __name__ == "__main__":
    sys.argv[0] = "imageclef-vqa"
    main()
