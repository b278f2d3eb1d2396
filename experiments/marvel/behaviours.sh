#!/usr/bin/env bash
# The runs whose policies make the data sets of `handrail dataset`: SAC-Lagrangian under a low, a
# middle and no limit, a policy kept every 5,000 steps. Some 3 minutes of a core each; what is complete
# is passed over, what was stopped goes on. Then `handrail behaviours` chooses among them.
#
#   experiments/marvel/behaviours.sh [OUT [TASK...]]      HANDRAIL=handrail by default
set -euo pipefail
out=${1:-runs/behaviours}
shift || true
tasks=("$@")
[ $# -gt 0 ] || tasks=(BallCircle CarCircle DroneCircle BallRun CarRun DroneRun)
handrail=${HANDRAIL:-handrail}
for task in "${tasks[@]}"; do
    for limit in 5 40 free; do
        run=$out/$task-$limit
        [ ! -f "$run/summary.json" ] || continue
        if [ -f "$run/settings.toml" ]; then
            $handrail resume "$run"
            continue
        fi
        hold=(--cost-limit "$limit")
        [ "$limit" != free ] || hold=(--multiplier fixed --cost-weight 0)
        $handrail train sac-lag "bullet/$task" --seed 1 --hidden 64 64 --out "$run" "${hold[@]}" \
            --steps 60000 --evaluate-every 5000 --evaluate-episodes 5 --keep-policies
    done
done
