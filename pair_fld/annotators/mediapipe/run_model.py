"""MediaPipe's face mesh with attention as an annotator: run_model.py IMAGE_LIST OUTPUT_DIR.

Writes OUTPUT_DIR/STEM.txt for every image: 478 points per face in image pixels, an empty file where it finds no face.
Runs in its own environment (requirements.txt); it is never imported by pair_fld.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "3")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import mediapipe

MAX_FACES = 3
MIN_CONFIDENCE = 0.3  # low: the caller gives crops around a face, and keeps the face in the middle


def main(image_list: str, output_dir: str) -> None:
    out = Path(output_dir)
    out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    mesh = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True,
        max_num_faces=MAX_FACES,
        refine_landmarks=True,
        min_detection_confidence=MIN_CONFIDENCE,
    )
    for name in Path(image_list).read_text(encoding="utf-8").splitlines():
        image = cv2.imread(name)
        if image is None:
            sys.exit(f"{name}: cannot be read")
        height, width = image.shape[:2]
        result = mesh.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        blocks = []
        for face in result.multi_face_landmarks or []:
            # MediaPipe's 0 and 1 are the image's outer edges, half a pixel outside the outer pixels' centres
            lines = [f"{p.x * width - 0.5:.3f} {p.y * height - 0.5:.3f}" for p in face.landmark]
            blocks.append("version: 1\nn_points: {}\n{{\n{}\n}}\n".format(len(lines), "\n".join(lines)))
        (out / (Path(name).stem + ".txt")).write_text("".join(blocks))


if __name__ == "__main__":
    main(*sys.argv[1:3])
