"""Measures one session: the scenarios that were asked for, for everything that was to be timed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgetl.runtime.bench.coldstart import cold_start
from edgetl.runtime.bench.energy import find_meters
from edgetl.runtime.bench.inputs import Ask, Inputs, queries, read_inputs, single_queries
from edgetl.runtime.bench.options import BenchOptions, Scenario, Timed
from edgetl.runtime.bench.results import Scenarios, SingleStream, VariantBench
from edgetl.runtime.bench.scenarios import Setup, multi_stream, offline, server, single_stream
from edgetl.runtime.session import Session
from edgetl.types import Array, Options

Keep = Callable[[str, Array], None]
"""Takes raw samples under the name VARIANT/SCENARIO/TIMED."""

SCENARIOS: dict[Scenario, Callable[[Ask, Setup], tuple[Any, Array]]] = {
    "single-stream": single_stream.measure,
    "multi-stream": multi_stream.measure,
    "offline": offline.measure,
    "server": server.measure,
}


def bench(
    session: Session,
    options: BenchOptions,
    *,
    inputs: Inputs | None = None,
    opened_with: Options | None = None,
    keep: Keep = lambda name, samples: None,
    root: Path = Path("/"),
) -> VariantBench:
    """The scenarios of one session. `opened_with`: its engine options, for the processes of a cold start.

    `keep` gets the raw samples, in ms; `root` is where /proc and /sys lie. Raises EngineError, and ConfigError when
    encoded images are to be timed and there are none.
    """
    inputs = inputs or read_inputs(session.bundle)
    meters, notes = find_meters(session.facts, root) if "offline" in options.scenarios else ([], [])
    setup = Setup(options=options, root=root, meters=meters)
    found = {timed: _scenarios(session, setup, inputs, timed, keep) for timed in dict.fromkeys(options.timed)}
    scenarios = found.pop(options.timed[0])
    if "cold-start" in options.scenarios:
        started, samples = cold_start(session.bundle, session.variant.id, opened_with or {}, options.cold_starts)
        keep(f"{session.variant.id}/cold-start", samples)
        scenarios = msgspec.structs.replace(scenarios, cold_start=started)
    return VariantBench(
        id=session.variant.id,
        scenarios=scenarios,
        facts=session.facts,
        timed=options.timed[0],
        further=found,
        inputs=inputs.source,
        notes=tuple(notes),
    )


def _scenarios(session: Session, setup: Setup, inputs: Inputs, timed: Timed, keep: Keep) -> Scenarios:
    """All but the cold start."""
    options = setup.options
    sizes = {"multi-stream": options.samples_per_query, "offline": options.offline_batch}
    found: dict[str, Any] = {}
    for name in dict.fromkeys(options.scenarios):
        if name in SCENARIOS:
            ask = queries(session, inputs, timed, sizes.get(name, 1))
            found[name.replace("-", "_")], samples = SCENARIOS[name](ask, setup)
            keep(f"{session.variant.id}/{name}/{timed}", samples)
    return Scenarios(**found)


def single_latency(session: Session, options: BenchOptions) -> SingleStream:
    """Latency of one-sample queries to the engine alone, each on another input."""
    feeds = single_queries(session.bundle)
    return single_stream.measure(lambda i: session.infer(feeds[i % len(feeds)]), Setup(options=options))[0]
