#!/bin/sh
# Train the classifier of animals for the shipped proposals, ship it, and measure it on val. From the repository's root:
#
#   sh tools/ship_animals.sh [DATA_DIR] [OUT]
#
# Delete OUT to start anew; what is in OUT/cache is used again where data and proposals are the same.
set -eu
data=${1:-../shared/data}/animals
out=${2:-runs/animals}
python=${PYTHON:-.venv/bin/python}

"$python" -m instancefcn train-classifier --recipe lite \
    --data "coco:$data/annotations/instances_train.json,$data/train" --out "$out"
"$python" tools/ship_classifier.py "$out/classifier.safetensors" animals
"$python" -m instancefcn segment "$data/val" --annotations "$data/annotations/instances_val.json" \
    --classifier animals --out "$out/val"
"$python" -m instancefcn evaluate "$out/val/segments.json" --annotations "$data/annotations/instances_val.json" \
    --per-class --out "$out/report"
"$python" tools/classifier_sheet.py "$out/val" "$data/annotations/instances_val.json" --out "$out/sheet.jpg"
