"""dlib's 68-point regression trees as an annotator: run_model.py IMAGE_LIST OUTPUT_DIR.

Writes OUTPUT_DIR/STEM.txt for every image: 68 points per face in image pixels, an empty file where it finds no face.
Runs in its own environment (requirements.txt); it is never imported by pair_fld.
"""

import sys
from pathlib import Path

import cv2
import dlib
import face_recognition_models

MIN_SIDE = 400  # its detector finds faces of 80 pixels or more: smaller images are enlarged


def main(image_list: str, output_dir: str) -> None:
    out = Path(output_dir)
    out.mkdir(parents=True, exist_ok=True)
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
    for name in Path(image_list).read_text(encoding="utf-8").splitlines():
        image = cv2.imread(name)
        if image is None:
            sys.exit(f"{name}: cannot be read")
        scale = max(1.0, MIN_SIDE / min(image.shape[:2]))
        if scale > 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        blocks = []
        for box in detector(rgb, 0):
            points = [predictor(rgb, box).part(k) for k in range(68)]
            # pixel centres: (u + 0.5) / scale - 0.5
            lines = [f"{(p.x + 0.5) / scale - 0.5:.3f} {(p.y + 0.5) / scale - 0.5:.3f}" for p in points]
            blocks.append("version: 1\nn_points: 68\n{{\n{}\n}}\n".format("\n".join(lines)))
        (out / (Path(name).stem + ".txt")).write_text("".join(blocks))


if __name__ == "__main__":
    main(*sys.argv[1:3])
