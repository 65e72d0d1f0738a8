"""The old name of launch/undo_edit.py, for one release."""

import sys

from launch.undo_edit import main

if __name__ == "__main__":
    sys.exit(main())
