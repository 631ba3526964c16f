"""The exported nets and packed archives of their own folders' tests, here too."""

from tests.export.conftest import coords_net, export, face_net  # noqa: F401
from tests.submit.conftest import detector, models  # noqa: F401
