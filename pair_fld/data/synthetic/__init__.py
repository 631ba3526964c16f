"""The project's own renderer of faces with exact points; see `render.py`."""

from pair_fld.data.synthetic.render import SyntheticFace, SyntheticScene, render_face, render_scene

__all__ = ["SyntheticFace", "SyntheticScene", "render_face", "render_scene"]
