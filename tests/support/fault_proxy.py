"""The fault-injecting proxy of the benchmarks, for tests."""

from forebay.bench.fault_proxy import FaultProxy, Faults

__all__ = ["FaultProxy", "Faults"]
