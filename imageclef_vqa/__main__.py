"""``python -m imageclef_vqa`` is ``medvqa``."""

from imageclef_vqa.cli import main

if __name__ == "__main__":
    main()
