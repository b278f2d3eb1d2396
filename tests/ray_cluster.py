"""A Ray cluster of two machines of one core, as far as Ray can tell, in a process of its own (Ray's
own helper leaves files and processes to the garbage collector, which the tests forbid).

Prints its address; on the first line of standard input the second machine is lost, as by a power
cut; on the end of standard input the cluster is shut down.
"""

import sys

from ray.cluster_utils import Cluster

small = {"num_cpus": 1, "object_store_memory": 80_000_000}
head = {**small, "include_dashboard": False}
# A machine is lost when it has not answered five times; Ray asks every three seconds.
head["_system_config"] = {"health_check_period_ms": 300}
cluster = Cluster(initialize_head=True, head_node_args=head)
second = cluster.add_node(**small)
print(cluster.address, flush=True)
if sys.stdin.readline():
    cluster.remove_node(second, allow_graceful=False)
    sys.stdin.read()
cluster.shutdown()
