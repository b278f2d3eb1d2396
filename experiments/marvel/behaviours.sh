#!/usr/bin/env bash
# The runs whose policies make the data sets of `handrail dataset`: SAC-Lagrangian under a low, a
# middle and no limit, a policy kept every 5,000 steps. Some 3 minutes of a core each; what is complete
# is passed over, what was stopped goes on. Then `handrail dataset --choose --keep` chooses among them.
#
# A task without a suite is Bullet's; gym/HalfCheetahVelocity and the like, and AntRun, go by the same way.
#
#   experiments/marvel/behaviours.sh [OUT [TASK...]]      HANDRAIL=handrail by default
set -euo pipefail
out=${1:-runs/behaviours}
shift || true
tasks=("$@")
[ $# -gt 0 ] || tasks=(BallCircle BallRun CarRun DroneRun DroneCircle CarCircle)
handrail=${HANDRAIL:-handrail}
for task in "${tasks[@]}"; do
    case $task in */*) ;; *) task=bullet/$task ;; esac
    name=${task##*/} steps=60000 fade=5000
    # A cost that is felt from the first step teaches these to stand still.
    case $name in CarCircle | DroneCircle) steps=120000 fade=80000 ;; esac
    for limit in free 5 40; do
        run=$out/$name-$limit
        [ ! -f "$run/summary.json" ] || continue
        if [ -f "$run/settings.toml" ]; then
            $handrail resume "$run"
            continue
        fi
        hold=(--cost-limit "$limit" --fade-in $fade)
        [ "$limit" != free ] || hold=(--multiplier fixed --cost-weight 0)
        $handrail train sac-lag "$task" --seed 1 --hidden 64 64 --out "$run" "${hold[@]}" \
            --steps $steps --evaluate-every 5000 --evaluate-episodes 5 --keep-policies
    done
done
