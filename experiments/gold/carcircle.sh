#!/usr/bin/env bash
# Makes results/gold.csv: bullet/CarCircle-gold, three seeds of every method, one job after another.
# Complete runs are kept and stopped ones go on, so call it again after a break.
#   experiments/gold/carcircle.sh [seed ...]
set -euo pipefail
cd "$(dirname "$0")/../.."
handrail=.venv/bin/handrail task=bullet/CarCircle-gold out=runs/gold
demos=$out/demonstrations.hdf5
online=(--steps 100000 --batch 128)

job() {  # NAME METHOD SETTINGS...: train or go on, then judge on 50 evaluation episodes
  local run=$out/$1 method=$2
  shift 2
  if [ -e "$run/settings.toml" ]; then $handrail resume "$run"
  else $handrail train "$method" $task --out "$run" "$@"; fi
  $handrail evaluate "$run" --episodes 50 --append results/gold.csv
}

[ -e $demos ] || $handrail demos $task --episodes 200 --out $demos
for seed in "${@:-0 1 2}"; do for s in $seed; do
  job bc-$s bc --seed "$s" --demos $demos
  job dt-$s dt --seed "$s" --demos $demos
  job iql-$s iql --seed "$s" "${online[@]}"
  job iql-demos-$s iql --seed "$s" --demos $demos --noise 0.3 "${online[@]}"
  job gold-bc-$s gold --seed "$s" --demos $demos --guide $out/bc-$s "${online[@]}"
  job gold-dt-$s gold --seed "$s" --demos $demos --guide $out/dt-$s "${online[@]}"
done; done
