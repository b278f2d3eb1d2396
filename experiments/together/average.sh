#!/usr/bin/env bash
# Makes results/together_average.csv: Marvel and Warm Start on bullet/BallCircle as in Marvel's table, from its
# data set and its offline policy of seed 0, but judged by an average with caution, as Handrail is.
#   experiments/together/average.sh      HANDRAIL=handrail by default; `handrail table marvel` comes first
set -euo pipefail
handrail=${HANDRAIL:-handrail} task=bullet/BallCircle stages=runs/table-marvel/bullet-BallCircle
offline=$(find "$stages" -maxdepth 1 -type d -name 'cpq-0-*')
for method in marvel warm-start; do
  run=runs/together/ball-$method-average-0
  if [ -e "$run/settings.toml" ]; then $handrail resume "$run"
  else
    $handrail train $method $task --out "$run" --seed 0 --offline "$offline" --demos "$stages"/data-*.hdf5 \
      --multiplier adaptive-pid --steps 40000 --batch 128 --updates-per-step 0.5 --evaluate-every 5000 \
      --average 5000 --caution 1
  fi
  $handrail evaluate "$run" --episodes 50 --append results/together_average.csv
done
