"""`pairfld demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pair_fld.cli.console import OverwriteOption, say
from pair_fld.errors import PairError

DEFAULT_OUT = Path("site")


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("demo")(demo)


def demo(
    archive: Annotated[
        Path | None, typer.Argument(help="Zip of pairfld package, or its unpacked folder.", show_default="tiny")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the page.", show_default="site; none with --serve")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Open the page in this machine's browser, until Ctrl-C.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of --serve.", show_default="any free one")
    ] = 0,
    engine_folder: Annotated[
        Path | None,
        typer.Option(
            "--engine-folder",
            help="Folder with what `npm pack @litertjs/core @litertjs/wasm-utils` fetched, where npm is out of reach.",
            show_default="fetched once from npm",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a web page that runs an archive on a camera, an image or a video, in the browser alone.

    The page runs the archive's own .tflite files, with the same detector, crops, decoding and tracking as
    `pairfld predict`. All that it needs lies in its folder, and images never leave it. Put the folder on any web
    server; on other machines than the server's own, browsers give a camera to https pages only.

    Example: `pairfld demo`
    """
    from pair_fld.demo.site import write_site
    from pair_fld.inference.archive import shipped_archive

    source = archive or shipped_archive()
    if engine_folder is not None and not engine_folder.is_dir():
        raise PairError(engine_folder, "a folder with the .tgz files of npm pack", "no such folder", "Check the path.")
    if not serve or out is not None:
        folder = out or DEFAULT_OUT
        write_site(source, folder, engine_folder=engine_folder, overwrite=overwrite, say=say)
        say(f"written: {folder}")
        if serve:
            _serve(folder, port)
        return
    with tempfile.TemporaryDirectory(prefix="pairfld-demo-") as scratch:
        folder = Path(scratch) / "site"
        write_site(source, folder, engine_folder=engine_folder, say=say)
        _serve(folder, port)


def _serve(folder: Path, port: int) -> None:
    import webbrowser

    from pair_fld.demo.server import address, open_server

    with open_server(folder, port) as server:
        say(f"{address(server)} (Ctrl-C ends it)")
        webbrowser.open(address(server))
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
