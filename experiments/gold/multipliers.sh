#!/usr/bin/env bash
# Makes results/multipliers.csv: four tasks x three cost limits x GOLD's w fixed, by adaptive PID, by PID,
# and Handrail, which holds a limit by a multiplier of its own. The same demonstrations for all of a task, a
# guide for a seed. With w fixed a run does not know the limit, so one run is judged by all three.
# Complete runs are kept, stopped ones go on. Where w moves, GOLD's policy is drawn by the soft
# actor-critic: on the leash of ddpg_bc the cost does not answer to w (decision 9).
#   experiments/gold/multipliers.sh METHOD TASK [seed ...]
#   METHOD: handrail, fixed, adaptive-pid or pid; TASK: PointGoal1, CarGoal1, PointButton1 or PointPush1
set -euo pipefail
cd "$(dirname "$0")/../.."
handrail=.venv/bin/handrail
method=$1 task=native/$2-gold
shift 2
out=runs/multipliers/${task#native/}
demos=$out/demonstrations.hdf5
same=(--steps 60000)

job() {  # NAME METHOD SETTINGS...: train or go on
  local run=$out/$1 name=$2
  shift 2
  if [ -e "$run/settings.toml" ]; then $handrail resume "$run"
  else $handrail train "$name" "$task" --out "$run" --seed "$seed" --demos "$demos" "$@"; fi
}
judge() {  # NAME LIMIT
  $handrail evaluate "$out/$1" --episodes 50 --cost-limit "$2" --append results/multipliers.csv
}

[ -e "$demos" ] || $handrail demos "$task" --out "$demos"
for seed in "${@:-0}"; do
  [ "$method" = handrail ] || job dt-"$seed" dt
  guided=(gold --guide "$out/dt-$seed" "${same[@]}")
  for limit in 5 10 20; do
    case $method in
      handrail) name=handrail-$limit-$seed; job "$name" handrail --cost-limit $limit "${same[@]}" ;;
      fixed) name=fixed-$seed; job "$name" "${guided[@]}" ;;
      *) name=$method-$limit-$seed
        job "$name" "${guided[@]}" --iql.extraction sac --pid.largest 30 --multiplier "$method" --cost-limit $limit ;;
    esac
    judge "$name" $limit
  done
done
