"""Times of the page in Chromium beside Python's, in turns on this machine: python -m tests.demo.speed"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pair_fld.demo.server import address, open_server
from pair_fld.demo.site import write_site
from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
from pair_fld.runtime.frame import Frame
from pair_fld.runtime.image_file import ImageFile
from tests.demo.chromium import Page, chromium

ROUNDS, RUNS = 9, 100
IMAGE = np.full((480, 640, 3), 128, np.uint8)  # as in demo/page/measurements.js
CENTRE = (320.0, 240.0)


def main() -> None:
    """Prints medians of the rounds; a ratio is a median of the rounds' ratios.

    Each round gives the time below which a tenth of its calls stayed: what other programs take is not counted.
    """
    archive = shipped_archive()
    # Chromium may still be writing into its profile while it ends
    scratch_folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with scratch_folder as scratch, unpacked(archive) as weights:
        site = Path(scratch) / "site"
        write_site(archive, site)
        (pipeline,) = open_pipelines(weights, archive, 1)
        image, face, whole = ImageFile.of_array(IMAGE), Frame(CENTRE, 200.0), Frame(CENTRE, 640.0)
        with open_server(site) as server, chromium(Path(scratch) / "profile") as page:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            page.open(address(server))
            page.evaluate(
                "import('/main.js').then(async m => { window.pipeline = (await m.ready).pipeline; return 1; })"
            )
            rounds = []
            for _ in range(ROUNDS):
                browser = _page(page)
                rounds.append(
                    (
                        *browser,
                        _python(lambda: pipeline.locate(image, [face])),
                        _python(lambda: pipeline.detector.detect_in(IMAGE, [whole])),
                    )
                )
            server.shutdown()
    times = np.array(rounds)
    for name, k in (("face", 0), ("view", 1)):
        page_ms, python_ms = np.median(times[:, k]), np.median(times[:, k + 2])
        ratio = np.median(times[:, k] / times[:, k + 2])
        print(f"{name}: page {page_ms:.2f} ms, Python {python_ms:.2f} ms, ratio {ratio:.2f}")


def _page(page: Page) -> tuple[float, float]:
    times = page.evaluate(
        f"""(async () => {{
          const {{ ImageFile }} = await import("/image_file.js");
          const data = new Uint8ClampedArray(640 * 480 * 4).fill(128);
          const image = ImageFile.ofFrame({{ width: 640, height: 480, data }});
          const frame = {{ centre: {list(CENTRE)}, size: 200, roll: 0 }};
          const times = [[], []];
          for (let k = 0; k < {RUNS}; k++) {{
            const start = performance.now();
            await pipeline.locate(image, frame);
            const middle = performance.now();
            await pipeline.detectInView(image, {{ ...frame, size: 640 }}, 0.4);
            times[0].push(middle - start);
            times[1].push(performance.now() - middle);
          }}
          return times;
        }})()"""
    )
    return _undisturbed(times[0]), _undisturbed(times[1])


def _python(work: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return _undisturbed(times)


def _undisturbed(times: list[float]) -> float:
    return float(np.quantile(times, 0.1))


if __name__ == "__main__":
    main()
