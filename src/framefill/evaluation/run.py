"""A whole evaluation: every case with every model, in several workers, resumed where it was stopped, then gathered and reported."""

from __future__ import annotations

import difflib
import fnmatch
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import active_children, get_context
from pathlib import Path

from framefill.data.progress import Progress, Step
from framefill.errors import JobError, UsageError
from framefill.evaluation.baselines import get_model
from framefill.evaluation.gather import gather_cases
from framefill.evaluation.plan import EvalSettings, Plan
from framefill.evaluation.protocols import get_protocol
from framefill.evaluation.protocols.base import CaseSource, Found, Protocol, SetProtocol
from framefill.evaluation.results import check_results
from framefill.evaluation.table import METRICS, SET_METRICS, needed_weights
from framefill.evaluation.unit import Model, Unit, has_features, read_unit, score


def evaluate(settings: EvalSettings, progress: Progress) -> list[Path]:
    """Run an evaluation and return the files that tell of it: report.html, report.md, results.csv.

    Results that are there from an earlier run of the same settings are kept. Raises UsageError, MissingWeights, MediaError, JobError.
    """
    begin = time.perf_counter()
    plan = make_plan(settings)
    if isinstance(plan.protocol, SetProtocol):
        from framefill.evaluation.sets import evaluate_sets

        return evaluate_sets(plan, progress)
    found = only_cases(plan.protocol.find(settings.clips, plan.chosen, settings.seed), settings.only)
    for model in plan.models:
        if model.results is not None:
            check_results(model.results, [source.name for source in found.cases])
    plan.claim()
    for note in found.notes:
        progress(Step(0, 0, note))
    keys = {(source.name, model.name): plan.key(source, model) for source in found.cases for model in plan.models}
    units = _units(plan, plan.protocol, found, keys)
    done = len(keys) - sum(len(unit.models) for unit in units)
    if done:
        progress(Step(done, len(keys), f"{done} of {len(keys)} results are there from before"))
    for names in _work(units, settings.workers):
        done += len(names)
        progress(Step(done, len(keys)))
    return gather_cases(plan, plan.protocol, found, keys, time.perf_counter() - begin)


def make_plan(settings: EvalSettings) -> Plan:
    """Look up every name of `settings`. Raises UsageError, and MissingWeights before any work is done."""
    protocol = get_protocol(settings.protocol)
    chosen = protocol.settle(settings.settings)
    known: Mapping[str, object] = SET_METRICS if isinstance(protocol, SetProtocol) else {**METRICS, **SET_METRICS}
    metrics = _picked(settings.metrics or protocol.metrics, known)
    models = _models(settings, protocol.models if isinstance(protocol, Protocol) else ())
    weights = needed_weights(metrics, str(chosen.get("flow", "dis")), [model.filler for model in models if model.results is None])
    return Plan(settings, protocol, chosen, metrics, models, weights)


def _units(plan: Plan, protocol: Protocol, found: Found, keys: Mapping[tuple[str, str], str]) -> list[Unit]:
    """List what is still to be done: each case with the models that have no values of this plan yet."""
    folder = plan.settings.output
    kinds = sorted({SET_METRICS[name].features for name in plan.metrics if name in SET_METRICS})
    units = []
    for source in found.cases:
        left = {
            keys[source.name, model.name]: model
            for model in plan.models
            if read_unit(folder, source.name, model.name, keys[source.name, model.name]) is None
            or not has_features(folder, source.name, model.name, kinds)
        }
        if left:
            units.append(Unit(source, left, plan.metrics, plan.flow, protocol.composite, plan.settings.save, folder))
    return units


def _picked(names: Sequence[str], known: Mapping[str, object]) -> tuple[str, ...]:
    """Return metrics' names, each once; raises UsageError for one that is not `known`."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"no metric is called {name!r} here; {hint}")
    return tuple(dict.fromkeys(names))


def _models(settings: EvalSettings, usual: Sequence[str]) -> tuple[Model, ...]:
    named = settings.models or (() if settings.results else usual)
    models = [Model(Path(name).name, name) for name in dict.fromkeys(named)]
    models += [Model(name, results=folder) for name, folder in settings.results.items()]
    names = [model.name for model in models]
    if len(set(names)) < len(names) or {"truth", "given"} & set(names) or any("/" in name for name in names):
        raise UsageError(f"models need names of their own, other than truth and given and without a slash; came {', '.join(names)}")
    for name in named:
        get_model(name)
    return tuple(models)


def only_cases(found: Found, only: Sequence[str]) -> Found:
    """Keep the cases whose name, or whose clip's name, fits one of the patterns. Raises UsageError where a pattern fits none."""
    if not only:
        return found
    for pattern in only:
        if not any(_fits(source, pattern) for source in found.cases):
            names = ", ".join(source.name for source in found.cases[:8])
            raise UsageError(f"--clip {pattern} fits no clip; there are {names}{', ...' if len(found.cases) > 8 else ''}")
    return replace(found, cases=[source for source in found.cases if any(_fits(source, pattern) for pattern in only)])


def _fits(source: CaseSource, pattern: str) -> bool:
    return fnmatch.fnmatchcase(source.name, pattern) or fnmatch.fnmatchcase(source.name.rpartition("/")[0] or source.name, pattern)


def _work(units: Sequence[Unit], workers: int) -> Iterator[list[str]]:
    """Score the units, in this process or in several, and give each one's models as it is done; an error ends all."""
    if workers <= 1 or len(units) <= 1:
        for unit in units:
            yield score(unit)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    # A fresh interpreter each: a fork would take over the locks of threads that are not there any more.
    with ProcessPoolExecutor(min(workers, len(units)), get_context("spawn"), _limit_threads, (threads,)) as pool:
        futures: list[Future[list[str]]] = [pool.submit(score, unit) for unit in units]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise JobError(
                "a worker was killed (out of memory?); the same command goes on from here, perhaps with fewer --workers"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if not all(future.done() for future in futures):  # an error or Ctrl-C: units are written whole or not at all
                for child in active_children():
                    child.terminate()


def _limit_threads(threads: int) -> None:
    """Share the cores between the workers; Ctrl-C is the parent's to handle."""
    import signal

    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    cv2.setNumThreads(threads)
