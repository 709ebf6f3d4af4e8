#!/bin/sh
# Make what ships: the checkpoint with its threshold and calibration, and the classifier of animals that is bound to it.
# From the repository's root; two cores for an hour and a half:
#
#   sh tools/ship_lite.sh [DATA_DIR] [OUT]
#
# Two trainings go on from the checkpoint that shipped before, side by side, a thread each: one on photographs and on
# pictures of many small things of a kind, one also on things in a bin, on fronts of houses and on smaller views. What
# ships is the mean of both and of weights that shipped long before (docs/results/lite.md says why). What was cut goes on
# when it is run again; delete OUT to start anew.
set -eu
data=${1:-../shared/data}
out=${2:-runs/lite}
python=${PYTHON:-.venv/bin/python}
weights=src/instancefcn/weights/lite.safetensors

of() { # NAME SPLIT: the spec of a COCO data set
    echo "coco:$data/$1/annotations/instances_$2.json,$data/$1/$2"
}

mkdir -p "$out"
git show "cc38164:$weights" >"$out/older.safetensors"
git show "1fca272:$weights" >"$out/earlier.safetensors"
if [ ! -d "$out/pictures" ]; then
    "$python" tools/scatter_scenes.py "$out/pictures.begun" --things "$(of coco-mini train)" "$(of coco-extra train)"
    mv "$out/pictures.begun" "$out/pictures"
fi

learn() { # NAME SEED TABLE SPEC...: a training on the sources that both have, and on those named
    name=$1 seed=$2 table=$3
    shift 3
    set -- --data "$(of coco-mini train)" --data "partial+$(of coco-partial train)" --data "partial+$(of animals train)" \
        --data "labels:$data/pennfudan/train" --data "$(of coco-extra train)" --data "labels:$out/pictures" "$@"
    printf 'seed = %s\n%s[optimization]\nlearning_rate = 0.0005\niterations = 2400\n' "$seed" "$table" >"$out/$name.toml"
    OMP_NUM_THREADS=1 "$python" -m instancefcn train --recipe "$out/$name.toml" --init "$out/earlier.safetensors" "$@" \
        --val "voc:$data/voc2007/VOCdevkit/VOC2007,val" --workers 0 --resume --out "$out/$name" >>"$out/$name.log" 2>&1
}

learn scenes 3 "" &
scenes=$!
learn all 4 '[augmentation]
shorter_sides = [240.0, 800.0]
' --data "$(of tabletop-rmgc train)" --data "$(of facade train)" &
wait $!
wait $scenes
"$python" tools/ship_checkpoint.py "$out/older.safetensors" "$out/scenes/last.safetensors" "$out/all/last.safetensors" \
    --objects "$(of coco-mini val)"
sh tools/ship_animals.sh "$data" "$out/animals"
