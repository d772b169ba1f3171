"""``python -m imageclef_vqa`` is the program under the name that no other package installs."""

import sys

from imageclef_vqa.cli import main

if __name__ == "__main__":
    sys.argv[0] = "imageclef-vqa"
    main()
