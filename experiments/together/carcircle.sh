#!/usr/bin/env bash
# Makes results/together.csv and results/together_curves.csv: bullet/CarCircle-gold, 200 demonstrations (in the
# rows there, of the former expert: 617 at cost 0.03), equal environment steps, three seeds of Handrail, of
# Marvel and of GOLD (DT-IQL) with an adaptive PID. Complete runs are kept and stopped ones go on. METHOD
# handrail-latest, not run by default, is Handrail judged by its latest parameters; its rows go to
# results/together_latest.csv.
#   experiments/together/carcircle.sh [METHOD...]      HANDRAIL=handrail, SEEDS="0 1 2" by default
set -euo pipefail
handrail=${HANDRAIL:-handrail} task=bullet/CarCircle-gold out=runs/together
demos=runs/gold/demonstrations.hdf5

train() {  # NAME METHOD SETTINGS...: train or go on
  local run=$out/$1-$seed method=$2
  shift 2
  if [ -e "$run/settings.toml" ]; then $handrail resume "$run"
  else $handrail train "$method" $task --out "$run" --seed "$seed" --demos $demos "$@"; fi
}
job() {  # the same online, and judge it on 50 evaluation episodes
  train "$@" --cost-limit 10 --steps 100000
  $handrail evaluate $out/"$1-$seed" --episodes 50 --append results/"$table".csv \
    --append-curve results/"$table"_curves.csv
}

[ -e $demos ] || $handrail demos $task --episodes 200 --out $demos
for seed in ${SEEDS:-0 1 2}; do
  for name in "${@:-handrail marvel gold-apid}"; do for n in $name; do
    table=together
    [ "$n" != handrail-latest ] || table=together_latest # the same method: rows would be replaced
    case $n in
      handrail) job $n handrail ;;
      handrail-latest) job $n handrail --average 0 --caution 0 ;;
      marvel) job $n marvel ;;
      gold-apid)
        train dt dt
        job $n gold --guide $out/dt-"$seed" --multiplier adaptive-pid --updates-per-step 1
        ;;
      *) echo "unknown: $n" >&2; exit 2 ;;
    esac
  done; done
done
