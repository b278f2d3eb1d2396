#!/usr/bin/env bash
# Makes results/gold_ablation.csv: three schedules x two extractions on bullet/CarCircle-gold. Its rows are of
# the demonstrations of the former expert (617 at cost 0.03), at their commits. Complete runs are kept,
# stopped ones go on.
#   experiments/gold/ablation.sh [seed ...]
set -euo pipefail
cd "$(dirname "$0")/../.."
handrail=.venv/bin/handrail task=bullet/CarCircle-gold out=runs/gold
demos=$out/demonstrations.hdf5

job() {  # NAME METHOD SETTINGS...: train or go on
  local run=$out/$1 method=$2
  shift 2
  if [ -e "$run/settings.toml" ]; then $handrail resume "$run"
  else $handrail train "$method" $task --out "$run" --seed "$seed" --demos $demos "$@"; fi
}

[ -e $demos ] || $handrail demos $task --episodes 200 --out $demos
for seed in "${@:-0}"; do
  job dt-"$seed" dt
  for schedule in prefix_curriculum prefix_random bernoulli_decay; do
    for extraction in ddpg_bc awr; do
      name=a-$schedule-$extraction-$seed
      job "$name" gold --guide $out/dt-"$seed" --steps 20000 --updates-per-step 1 \
        --schedule $schedule --iql.extraction $extraction
      $handrail evaluate $out/"$name" --episodes 20 --append results/gold_ablation.csv
    done
  done
done
