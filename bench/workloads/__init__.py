"""What is asked of a loader: data, contract and oracle, one file a workload."""
