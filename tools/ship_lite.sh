#!/bin/sh
# Make what ships: the checkpoint with its threshold and calibration, and the classifier of animals that is bound to it.
# From the repository's root; two cores for fifty minutes:
#
#   sh tools/ship_lite.sh [DATA_DIR] [OUT]
#
# A training goes on from the checkpoint that shipped before, on its data and on pictures of many small things of a kind.
# What ships is a quarter of the earlier weights and three quarters of what they became (docs/results/lite.md says why).
# What was cut goes on when it is run again; delete OUT to start anew.
set -eu
data=${1:-../shared/data}
out=${2:-runs/lite}
python=${PYTHON:-.venv/bin/python}
earlier=6006cf0:src/instancefcn/weights/lite.safetensors

of() { # NAME SPLIT: the spec of a COCO data set
    echo "coco:$data/$1/annotations/instances_$2.json,$data/$1/$2"
}

mkdir -p "$out"
git show "$earlier" >"$out/earlier.safetensors"
if [ ! -d "$out/scenes" ]; then
    "$python" tools/scatter_scenes.py "$out/scenes.begun" --things "$(of coco-mini train)" "$(of coco-extra train)"
    mv "$out/scenes.begun" "$out/scenes"
fi
printf 'seed = 2\n[optimization]\nlearning_rate = 0.0005\niterations = 1600\n' >"$out/further.toml"
OMP_NUM_THREADS=2 "$python" -m instancefcn train --recipe "$out/further.toml" --init "$out/earlier.safetensors" \
    --data "$(of coco-mini train)" --data "partial+$(of coco-partial train)" --data "partial+$(of animals train)" \
    --data "labels:$data/pennfudan/train" --data "$(of coco-extra train)" --data "$(of tabletop-rmgc train)" \
    --data "$(of facade train)" --data "labels:$out/scenes" --val "$(of coco-mini val)" --workers 0 --resume \
    --out "$out/further"
before=$out/earlier.safetensors
after=$out/further/last.safetensors
"$python" tools/ship_checkpoint.py "$before" "$after" "$after" "$after" --objects "$(of coco-mini val)"
sh tools/ship_animals.sh "$data" "$out/animals"
