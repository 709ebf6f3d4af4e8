#!/bin/sh
# Train the shipped checkpoint further, on more data: two trainings side by side, a thread each, about two hours.
# From the repository's root:
#
#   sh tools/train_further.sh [DATA_DIR] [OUT]
#
# One also sees coco-extra, the other facade and tabletop-rmgc besides. What was cut goes on when it is run again; delete
# OUT to start anew. docs/results/lite.md says what came of it; tools/ship_checkpoint.py makes means of checkpoints.
set -eu
data=${1:-../shared/data}
out=${2:-runs/further}
python=${PYTHON:-.venv/bin/python}

of() { # NAME SPLIT: the spec of a COCO data set
    echo "coco:$data/$1/annotations/instances_$2.json,$data/$1/$2"
}

learn() { # NAME SEED FURTHER...: a training on the sources of before and on further ones
    name=$1
    printf 'seed = %s\n[optimization]\nlearning_rate = 0.0005\niterations = 4000\n' "$2" >"$out/$name.toml"
    shift 2
    further=$*
    set --
    for source in $further; do set -- "$@" --data "$(of "$source" train)"; done
    OMP_NUM_THREADS=1 "$python" -m instancefcn train --recipe "$out/$name.toml" --init shipped --workers 0 \
        --data "$(of coco-mini train)" --data "partial+$(of coco-partial train)" \
        --data "partial+$(of animals train)" --data "labels:$data/pennfudan/train" "$@" \
        --val "$(of coco-mini val)" --resume --out "$out/$name" >>"$out/$name.log" 2>&1
}

mkdir -p "$out"
learn extra 0 coco-extra &
extra=$!
learn all 1 coco-extra tabletop-rmgc facade &
wait $!
wait $extra
