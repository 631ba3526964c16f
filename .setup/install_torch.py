"""Install torch and torchvision into this Python, and say first which builds and how much there is to download.

    python install_torch.py [--index URL] [--say-only] [PIP OPTION]...

URL: PyTorch's index of CPU builds, without gigabytes of CUDA. Its builds are taken where it has them for this Python
(pip prefers 2.13.0+cpu to 2.13.0), those of pip's ordinary index otherwise. Standard library only: nothing else is
installed yet.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

PACKAGES = ("torch", "torchvision")
UNPACKED = 1.75  # what wheels with CUDA take on the disk, times their own size
OTHERS = "the other packages: about 0.2 GB"


def answers(url: str) -> bool:
    """Whether an index is there; pip itself would try again and again, for every package."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/torch/", timeout=10):
            return True
    except (OSError, ValueError):
        return False


def planned(options: list[str]) -> list[dict] | None:
    """What pip would install, as in its report (pip 22.2); None where it cannot tell."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--report", "-", *options, "-q", *PACKAGES]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}  # packages describe themselves in any letters
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, env=environment)
    try:
        return json.loads(done.stdout)["install"] if done.returncode == 0 else None
    except (ValueError, KeyError):
        return None


def size(url: str) -> int:
    """Bytes of a wheel, 0 where nobody says."""
    try:
        if url.startswith("file:"):
            return Path(url2pathname(urlsplit(url).path)).stat().st_size
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, ValueError, TypeError):
        return 0


def sentence(items: list[dict]) -> str:
    """The plan in words."""
    versions = {item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"] for item in items}
    names = " and ".join(f"{name} {versions[name]}" for name in PACKAGES if name in versions)
    if not names:
        return "torch and torchvision are installed: no download"
    build = "CUDA" if any(name.startswith("nvidia-") for name in versions) else "CPU"
    urls = [item["download_info"]["url"] for item in items]
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(size, urls))
    remote = sum(number for number, url in zip(sizes, urls, strict=True) if not url.startswith("file:"))
    text = (
        f"{names}: {build} build, {remote / 1e9:.1f} GB to download, {sum(sizes) * UNPACKED / 1e9:.1f} GB on the disk"
    )
    if build == "CPU" and shutil.which("nvidia-smi"):
        text += "; for this machine's GPU: make distclean && make setup TORCH_INDEX="
    return f"{text}; {OTHERS}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", default="", help="address of an index of CPU builds")
    parser.add_argument("--say-only", action="store_true", help="install nothing")
    arguments, options = parser.parse_known_args()
    if arguments.index and answers(arguments.index):
        options += ["--extra-index-url", arguments.index]
    elif arguments.index:
        print(f"no answer from {arguments.index}: taking what pip's ordinary index offers", flush=True)
    items = planned(options)
    print("cannot tell what there is to download" if items is None else sentence(items), flush=True)
    if arguments.say_only:
        return 0
    return subprocess.run([sys.executable, "-m", "pip", "install", *options, *PACKAGES], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
