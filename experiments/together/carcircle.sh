#!/usr/bin/env bash
# Makes results/together.csv and results/together_curves.csv: bullet/CarCircle-gold from the
# demonstrations of experiments/gold/carcircle.sh, equal environment steps, three seeds of Handrail, of
# Marvel and of GOLD (DT-IQL) with an adaptive PID; with w = 3 it is in results/gold.csv. Complete runs
# are kept and stopped ones go on. METHOD handrail-latest, not run by default, is Handrail judged by its latest
# parameters; its rows go to results/together_latest.csv.
#   experiments/together/carcircle.sh [METHOD...]      HANDRAIL=handrail, SEEDS="0 1 2" by default
set -euo pipefail
handrail=${HANDRAIL:-handrail} task=bullet/CarCircle-gold out=runs/together
demos=runs/gold/demonstrations.hdf5
mkdir -p $out

job() {  # NAME METHOD SETTINGS...: train or go on, then judge on 50 evaluation episodes
  local run=$out/$1-$seed method=$2
  shift 2
  if [ -e "$run/settings.toml" ]; then $handrail resume "$run"
  else
    $handrail train "$method" $task --out "$run" --seed "$seed" --demos $demos --cost-limit 10 \
      --steps 100000 --batch 128 "$@"
  fi
  for table in "${tables[@]}"; do
    $handrail evaluate "$run" --episodes 50 --append results/"$table".csv \
      --append-curve results/"$table"_curves.csv
  done
}

for seed in ${SEEDS:-0 1 2}; do
  for name in "${@:-handrail marvel gold-apid}"; do for n in $name; do
    tables=(together)
    [ "$n" != handrail ] || tables+=(gold) # a cell of that table
    [ "$n" != handrail-latest ] || tables=(together_latest) # the same method: rows would be replaced
    case $n in
      handrail) job $n handrail ;;
      handrail-latest) job $n handrail --average 0 --caution 0 ;;
      marvel) job $n marvel ;;
      gold-apid) job $n gold --guide runs/gold/dt-"$seed" --multiplier adaptive-pid ;;
      *) echo "unknown: $n" >&2; exit 2 ;;
    esac
  done; done
done
