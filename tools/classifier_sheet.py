"""A contact sheet of photographs that show a single instance, each with its overlay, and how many got the right name.

python tools/classifier_sheet.py runs/animals/val instances_val.json --out sheet.jpg
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw

CELL = 256  # pixels
COLUMNS = 6
SHOWN = 30  # photographs on the sheet, evenly spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("segments", type=Path, help="folder that `instancefcn segment` wrote")
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    coco = json.loads(arguments.annotations.read_bytes())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    count = Counter(annotation["image_id"] for annotation in coco["annotations"])
    truth = {entry["image_id"]: entry["category_id"] for entry in coco["annotations"] if count[entry["image_id"]] == 1}
    best: dict[int, dict[str, float]] = {}
    for result in json.loads((arguments.segments / "segments.json").read_bytes()):
        best.setdefault(result["image_id"], result)  # best first within an image
    right = [image for image, category in truth.items() if best.get(image, {}).get("category_id") == category]
    print(f"{len(right)} of {len(truth)} photographs of a single instance get its name ({len(right) / len(truth):.1%})")

    images = [image for image in coco["images"] if image["id"] in truth]
    images = images[:: max(1, len(images) // SHOWN)][:SHOWN]
    sheet = Image.new("RGB", (COLUMNS * CELL, -(-len(images) // COLUMNS) * (CELL + 20)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        x, y = index % COLUMNS * CELL, index // COLUMNS * (CELL + 20)
        with Image.open(arguments.segments / "overlays" / Path(image["file_name"]).with_suffix(".jpg")) as overlay:
            overlay.thumbnail((CELL, CELL))
            sheet.paste(overlay, (x, y + 20))
        wanted, found = truth[image["id"]], best.get(image["id"], {"category_id": 0, "score": 0})
        text = f"{names[wanted]}: {names.get(int(found['category_id']), 'nothing')} {found['score']:.2f}"
        draw.text((x + 4, y + 4), text, fill="black" if wanted == found["category_id"] else "red")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.out, quality=90)
    print(arguments.out)


if __name__ == "__main__":
    main()
