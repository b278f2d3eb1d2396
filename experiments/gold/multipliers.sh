#!/usr/bin/env bash
# Makes results/multipliers.csv: three tasks x three cost limits x w fixed, by PID, by adaptive PID.
# Demonstrations and guides are made once a task (a guide once a seed too). With w fixed a run does
# not know the limit, so one run is judged by all three. Complete runs are kept, stopped ones go on.
# The soft extraction, since on the leash of ddpg_bc the cost does not answer to w (decision 9).
#   experiments/gold/multipliers.sh [seed ...]
set -euo pipefail
cd "$(dirname "$0")/../.."
handrail=.venv/bin/handrail

job() {  # NAME METHOD SETTINGS...: train or go on
  local run=$out/$1 method=$2
  shift 2
  if [ -e "$run/settings.toml" ]; then $handrail resume "$run"
  else $handrail train "$method" "$task" --out "$run" --seed "$seed" --demos "$demos" "$@"; fi
}
gold() {  # NAME SETTINGS...
  local name=$1
  shift
  job "$name" gold --guide "$out/dt-$seed" --steps 60000 --batch 128 --updates-per-step 0.5 \
    --iql.extraction sac --pid.largest 30 "$@"
}
judge() {  # NAME LIMIT
  $handrail evaluate "$out/$1" --episodes 50 --cost-limit "$2" --append results/multipliers.csv
}

for seed in "${@:-0}"; do
  for task in native/PointGoal1-gold native/CarGoal1-gold native/PointButton1-gold; do
    out=runs/multipliers/${task#native/}
    demos=$out/demonstrations.hdf5
    [ -e "$demos" ] || $handrail demos "$task" --episodes 100 --out "$demos"
    job dt-"$seed" dt
    gold fixed-"$seed" --multiplier fixed
    for limit in 5 10 20; do
      judge fixed-"$seed" $limit
      for multiplier in pid adaptive-pid; do
        gold $multiplier-$limit-"$seed" --multiplier $multiplier --cost-limit $limit
        judge $multiplier-$limit-"$seed" $limit
      done
    done
  done
done
