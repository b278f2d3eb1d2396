#!/usr/bin/env bash
# Makes results/gold_ablation.csv: three schedules x two extractions, after carcircle.sh has made the
# demonstrations and the guide of the seed. Complete runs are kept, stopped ones go on.
#   experiments/gold/ablation.sh [seed ...]
set -euo pipefail
cd "$(dirname "$0")/../.."
handrail=.venv/bin/handrail task=bullet/CarCircle-gold out=runs/gold

for seed in "${@:-0}"; do
  for schedule in prefix_curriculum prefix_random bernoulli_decay; do
    for extraction in ddpg_bc awr; do
      run=$out/a-$schedule-$extraction-$seed
      if [ -e "$run/settings.toml" ]; then $handrail resume "$run"
      else
        $handrail train gold $task --out "$run" --seed "$seed" --demos $out/demonstrations.hdf5 \
          --guide "$out/dt-$seed" --steps 20000 --batch 128 \
          --schedule $schedule --iql.extraction $extraction
      fi
      $handrail evaluate "$run" --episodes 20 --append results/gold_ablation.csv
    done
  done
done
