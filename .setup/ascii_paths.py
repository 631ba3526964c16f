"""Spell the paths that an editable installation leaves in this environment in ASCII.

    python ascii_paths.py [FOLDER OF .pth FILES]

Python 3.11 reads .pth files in the locale's encoding: with LC_ALL=C and a repository in, say, /home/zoë, not even the
interpreter starts. A line of code may spell any path with escapes.
"""

import sys
import sysconfig
from pathlib import Path

folder = Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("purelib"))
for file in folder.glob("*.pth"):
    lines = file.read_text(encoding="utf-8").splitlines()
    if not all(line.isascii() for line in lines):
        plain = (line if line.isascii() else f"import sys; sys.path.append({line!a})" for line in lines)
        file.write_text("\n".join(plain) + "\n", encoding="ascii")
