"""How fast a session is: the four scenarios of MLPerf LoadGen, cold start, energy, and how noisy the machine was.

Reference: Reddi et al., "MLPerf Inference Benchmark", ISCA 2020.
"""

from edgetl.runtime.bench.inputs import single_queries
from edgetl.runtime.bench.measure import bench
from edgetl.runtime.bench.measure import single_latency as single_stream
from edgetl.runtime.bench.options import BenchOptions, Scenario, Timed
from edgetl.runtime.bench.results import MultiStream, Offline, Scenarios, Server, SingleStream, VariantBench

__all__ = [
    "BenchOptions",
    "MultiStream",
    "Offline",
    "Scenario",
    "Scenarios",
    "Server",
    "SingleStream",
    "Timed",
    "VariantBench",
    "bench",
    "single_queries",
    "single_stream",
]
